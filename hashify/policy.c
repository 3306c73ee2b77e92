#include "hashify/policy.h"

#include "store/base/cleanup.h"
#include "store/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A reason, and the patterns it is for.
struct defaults {
	const char *why;
	const char *patterns;
};

static const struct defaults defaults[] = {
	{ "sockets, locks, and what lives as long as the machine runs",
	  "/run/\n/var/run/\n/var/lock/\n/tmp/\n/var/tmp/\n/dev/\n/proc/\n/sys/\n" },
	{ "logs, mail and queues: they grow all the time", "/var/log/\n/var/mail/\n/var/spool/\n*.log\n" },
	{ "databases: written in place, and often open",
	  "*.db\n*.sqlite\n*.sqlite3\n*.db-wal\n*.db-shm\n*.sqlite-wal\n*.sqlite-shm\n*.mdb\n*.ibd\n"
	  "/var/lib/mysql/\n/var/lib/postgresql/\n/var/lib/pgsql/\n/var/lib/mongodb/\n/var/lib/redis/\n"
	  "/var/lib/ldap/\n/var/lib/etcd/\n" },
	{ "images of disks: written in place", "*.img\n*.qcow2\n*.vmdk\n*.vdi\n*.raw\n" },
	{ "configuration, that of packages above all: edited by people and scripts,\n"
	  "# machine by machine; with it the identity of the machine (machine-id,\n"
	  "# hostname, SSH host keys) and its secrets (shadow, private keys)",
	  "/etc/\n/usr/local/etc/\n" },
	{ "identity of the machine, and state of its services",
	  "/var/lib/dbus/\n/var/lib/systemd/\n/var/lib/dhcp/\n/var/lib/dhclient/\n/var/lib/NetworkManager/\n"
	  "/var/lib/private/\n/var/lib/cloud/\n/var/lib/urandom/\n" },
	{ "keys: not even looked for in other guests", ".ssh/\n.gnupg/\n*.key\n" },
	{ "what package managers keep of the state: rewritten by each of their runs",
	  "/var/lib/dpkg/status*\n/var/lib/dpkg/available*\n/var/lib/dpkg/diversions*\n"
	  "/var/lib/dpkg/statoverride*\n/var/lib/dpkg/lock*\n/var/lib/dpkg/triggers/\n/var/lib/dpkg/updates/"
	  "\n"
	  "/var/lib/apt/extended_states\n/var/lib/apt/lists/lock\n/var/cache/apt/*.bin\n/var/cache/debconf/\n"
	  "/var/lib/rpm/\n/usr/lib/sysimage/rpm/\n/var/lib/dnf/\n/var/lib/pacman/*.lck\n/lib/apk/db/\n" },
	{ "caches that are written in place",
	  "/var/cache/ldconfig/\n/var/cache/man/\n/var/cache/fontconfig/\n" },
};

#define DEFAULTS (sizeof(defaults) / sizeof(*defaults))

void policy_print_defaults(FILE *f)
{
	for (size_t i = 0; i < DEFAULTS; i++)
		fprintf(f, "%s# %s\n%s", i > 0 ? "\n" : "", defaults[i].why, defaults[i].patterns);
}

void policy_free(struct policy *p)
{
	names_free(&p->guests);
	free(p->text);
	*p = (struct policy){ 0 };
}

static int append(struct policy *p, const char *text, size_t size)
{
	char *grown = realloc(p->text, p->text_size + size + 1);
	if (!grown)
		return -ENOMEM;
	memcpy(grown + p->text_size, text, size);
	p->text = grown;
	p->text_size += size;
	p->text[p->text_size++] = '\n';
	return 0;
}

// 0, the line that is no pattern, or -ENOMEM.
static int check(const char *text, size_t size)
{
	struct exclude *x = exclude_new();
	int r = x ? exclude_add_text(x, text, size) : -ENOMEM;
	exclude_free(x);
	return r;
}

int policy_add_pattern(struct policy *p, const char *pattern)
{
	if (pattern[strspn(pattern, " \t\r")] == '\0' || *pattern == '#' || strchr(pattern, '\n') ||
	    check(pattern, strlen(pattern)) > 0)
		return -EINVAL;
	return append(p, pattern, strlen(pattern));
}

int policy_add_file(struct policy *p, const char *path, int *ret_line)
{
	auto_free char *text = NULL;
	size_t room = 0;

	*ret_line = 0;
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	if (!f)
		return -errno;
	errno = 0;
	ssize_t size = getdelim(&text, &room, '\0', f);
	int r = size < 0 && errno != 0 ? -errno : !feof(f) ? -EINVAL : 0;
	if (f != stdin)
		fclose(f);
	if (r < 0 || size < 0)
		return r;
	int line = check(text, (size_t)size);
	if (line > 0)
		*ret_line = line;
	return line > 0 ? -EINVAL : line < 0 ? line : append(p, text, (size_t)size);
}

int policy_add_guest(struct policy *p, const char *name, size_t length)
{
	return names_add(&p->guests, strndup(name, length));
}

bool policy_wants_guest(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->guests.count; i++)
		if (strcmp(p->guests.list[i], name) == 0)
			return true;
	return p->guests.count == 0;
}

// Where the guest's directory is a link there is no list: it cannot be followed, as it may lead out of the
// guest. A list that is a link itself was meant to be one.
static int open_guest_file(int root)
{
	auto_close int dir = beneath_open(root, POLICY_GUEST_DIR, O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return dir == -ELOOP ? -ENOENT : dir;
	int fd = beneath_open_file(dir, POLICY_GUEST_FILE);
	return fd == -ENXIO ? -EINVAL : fd;
}

// The guest may have put anything there.
static int add_guest_file(struct exclude *x, int root, int *ret_line)
{
	auto_close int fd = open_guest_file(root);
	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? fd : -errno;
	if (st.st_size > POLICY_GUEST_FILE_SIZE)
		return -EFBIG;
	char text[POLICY_GUEST_FILE_SIZE];
	ssize_t size = fd_pread_all(fd, text, sizeof(text), 0);
	if (size < 0)
		return (int)size;
	int line = exclude_add_text(x, text, (size_t)size);
	if (line > 0)
		*ret_line = line;
	return line > 0 ? -EINVAL : line;
}

static bool has(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_root_tree(int dir)
{
	return has(dir, "etc") || has(dir, "usr");
}

// -1: the guest's directory is its root.
static int open_rootfs(int top)
{
	auto_close int fd = is_root_tree(top) ? -1
					      : beneath_open(top, POLICY_ROOTFS, O_PATH | O_DIRECTORY, 0);
	return fd >= 0 && is_root_tree(fd) ? take_fd(&fd) : -1;
}

int policy_exclude(const struct policy *p, int top, struct exclude **ret, int *ret_error, int *ret_line)
{
	struct exclude *x = exclude_new();
	auto_close int rootfs = open_rootfs(top);
	int r = !x ? -ENOMEM : rootfs < 0 ? 0 : exclude_set_root(x, POLICY_ROOTFS);
	*ret_error = *ret_line = 0;
	for (size_t i = 0; i < DEFAULTS && r >= 0 && !p->no_defaults; i++)
		r = exclude_add_text(x, defaults[i].patterns, strlen(defaults[i].patterns));
	if (r >= 0)
		*ret_error = add_guest_file(x, rootfs < 0 ? top : rootfs, ret_line);
	if (*ret_error == -ENOMEM)
		r = -ENOMEM;
	if (r >= 0)
		r = exclude_add_text(x, p->text ? p->text : "", p->text_size);
	if (r < 0) {
		exclude_free(x);
		return r;
	}
	*ret = x;
	return 0;
}

// Goes down @path in the guest, name by name, as a walk does.
static bool excludes_below(const struct exclude *x, char *path)
{
	struct exclude_stack s = { 0 };
	size_t from = 0;
	bool found = exclude_push_root(x, &s) < 0;
	for (char *name = path, *slash; name && !found; name = slash) {
		slash = strchr(name, '/');
		if (slash)
			*slash++ = '\0';
		size_t to = s.count;
		found = exclude_match(x, &s, from, to, name, slash) || exclude_push(&s, from, to, name) < 0;
		from = to;
	}
	exclude_stack_free(&s);
	return found;
}

int policy_excludes(const struct policy *p, int pool, const char *path, struct policy_fault *ret)
{
	struct exclude *x;
	int err, line;
	auto_free char *copy = strdup(path);
	char *slash = copy ? strchr(copy, '/') : NULL;
	if (!slash)
		return copy ? -EINVAL : -ENOMEM;
	*slash = '\0';
	auto_close int root = beneath_open(pool, copy, O_RDONLY | O_DIRECTORY, 0);
	int r = root < 0 ? root : policy_exclude(p, root, &x, &err, &line);
	if (r < 0)
		return r;
	r = err < 0 ? err : excludes_below(x, slash + 1);
	if (err < 0)
		*ret = (struct policy_fault){ exclude_root(x) != NULL, line };
	exclude_free(x);
	return r;
}
