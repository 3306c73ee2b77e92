#include "store/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/store.h"

// A second in all.
#define HELD_PAUSE (10 * 1000 * 1000)
#define HELD_PAUSES 100

#define ENDING_PAUSE (20 * 1000 * 1000)
#define ENDING_PAUSES 150

// pid, source and mountpoint, each escaped to four times its length at most.
#define TEXT_MAX (32 + 2 * 4 * 4096)

void registration_free(struct registration *r)
{
	free(r->source);
	free(r->mountpoint);
	*r = (struct registration){ 0 };
}

const char *registration_below(const struct registration *r)
{
	return strcmp(r->source, "/") == 0 ? "" : r->source;
}

// Text, a line a field

static char *escape(const char *s)
{
	char *escaped = malloc(strlen(s) * 2 + 1), *p = escaped;

	for (; escaped && *s; s++) {
		if (*s == '\n' || *s == '\\')
			*p++ = '\\';
		*p++ = *s == '\n' ? 'n' : *s;
	}
	if (escaped)
		*p = '\0';
	return escaped;
}

// Takes the next line off *@text.
static char *unescape_line(const char **text)
{
	char *line = malloc(strlen(*text) + 1), *p = line;
	const char *s = *text;

	for (; line && *s && *s != '\n'; s++) {
		if (*s == '\\' && s[1])
			*p++ = *++s == 'n' ? '\n' : *s;
		else
			*p++ = *s;
	}
	if (line)
		*p = '\0';
	*text = *s ? s + 1 : s;
	return line;
}

static int parse(const char *text, struct registration *ret)
{
	char *end;
	long pid = strtol(text, &end, 10);

	if (pid <= 0 || pid > INT_MAX || *end != '\n')
		return -EBADMSG;
	text = end + 1;
	*ret = (struct registration){ .pid = (pid_t)pid };
	ret->source = unescape_line(&text);
	ret->mountpoint = unescape_line(&text);
	if (ret->source && ret->mountpoint)
		return 0;
	registration_free(ret);
	return -ENOMEM;
}

static int read_one(int fd, struct registration *ret)
{
	auto_free char *text = malloc(TEXT_MAX + 1);
	if (!text)
		return -ENOMEM;
	ssize_t size = fd_pread_all(fd, text, TEXT_MAX, 0);
	if (size < 0)
		return (int)size;
	text[size] = '\0';
	return parse(text, ret);
}

static int write_one(int fd, const char *source, const char *mountpoint)
{
	auto_free char *s = escape(source);
	auto_free char *m = escape(mountpoint);
	auto_free char *text = NULL;

	if (!s || !m || asprintf(&text, "%d\n%s\n%s\n", (int)getpid(), s, m) < 0)
		return -ENOMEM;
	return fd_pwrite_all(fd, text, strlen(text), 0);
}

// Who is alive

// Its mount holds the lock as long as it lives. Where we cannot tell it is taken for live: a file that is
// removed lets a second mount serve the same tree.
static bool is_live(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) < 0;
}

// It is held for moments only; but a store in a guest may be held by that for ever.
static int lock_patiently(int dir)
{
	const struct timespec pause = { .tv_nsec = HELD_PAUSE };
	for (int i = 0; flock(dir, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK || i == HELD_PAUSES)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return 0;
}

int registry_hold(struct store *s)
{
	if (mkdirat(s->dir, "mounts", 0700) < 0 && errno != EEXIST)
		return -errno;
	auto_close int dir = openat(s->dir, "mounts", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	int r = lock_patiently(dir);
	return r < 0 ? r : take_fd(&dir);
}

bool registry_shows(const char *mountpoint)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *e;
	bool found = false;

	while (mounts && (e = getmntent(mounts)))
		if (strcmp(e->mnt_dir, mountpoint) == 0)
			found = strcmp(e->mnt_type, "fuse.hashfs") == 0;
	if (mounts)
		endmntent(mounts);
	return found;
}

bool registry_wait_ending(unsigned *waited)
{
	const struct timespec pause = { .tv_nsec = ENDING_PAUSE };

	if (*waited == ENDING_PAUSES)
		return false;
	++*waited;
	nanosleep(&pause, NULL);
	return true;
}

struct visit {
	int (*each)(const struct registration *r, void *arg);
	void *arg;
};

static int visit(int dir, const struct dirent64 *entry, void *arg)
{
	const struct visit *v = arg;
	const char *name = entry->d_name;
	struct registration r;
	auto_close int fd = beneath_open_file(dir, name);

	if (fd < 0)
		return 0;  // unmounted meanwhile
	if (!is_live(fd)) {
		unlinkat(dir, name, 0);
		return 0;
	}
	int e = read_one(fd, &r);
	if (e < 0)
		return e;
	e = v->each(&r, v->arg);
	registration_free(&r);
	return e;
}

int registry_each(struct store *s, int (*each)(const struct registration *r, void *arg), void *arg)
{
	auto_close int dir = registry_hold(s);
	return dir < 0 ? dir : dir_each(dir, ".", visit, &(struct visit){ each, arg });
}

// Adding

struct overlap {
	const char *source;
	struct registration *other;
};

// Is @b @a or in it?
static bool holds(const char *a, const char *b)
{
	size_t length = strlen(a);

	if (strcmp(a, "/") == 0)
		return true;
	return strncmp(a, b, length) == 0 && (b[length] == '/' || b[length] == '\0');
}

static int find_overlap(const struct registration *r, void *arg)
{
	const struct overlap *o = arg;

	if (!holds(r->source, o->source) && !holds(o->source, r->source))
		return 0;
	o->other->pid = r->pid;
	o->other->source = strdup(r->source);
	o->other->mountpoint = strdup(r->mountpoint);
	return o->other->source && o->other->mountpoint ? -EBUSY : -ENOMEM;
}

int registry_add(struct store *s, const char *source, const char *mountpoint, struct registration *ret_other)
{
	struct overlap overlap = { source, ret_other };
	char name[32];

	auto_close int dir = registry_hold(s);
	if (dir < 0)
		return dir;
	int r = dir_each(dir, ".", visit, &(struct visit){ find_overlap, &overlap });
	if (r < 0)
		return r;

	// Named by its inode's number, because a pid is unique in its namespace alone.
	auto_close int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	r = write_one(fd, source, mountpoint);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "%llu", (unsigned long long)st.st_ino);
	if (linkat(AT_FDCWD, fd_path(fd).text, dir, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return take_fd(&fd);
}

void registry_remove(struct store *s, int fd)
{
	struct stat st;
	char name[64];

	if (fstat(fd, &st) == 0) {
		snprintf(name, sizeof(name), "mounts/%llu", (unsigned long long)st.st_ino);
		unlinkat(s->dir, name, 0);
	}
	fd_close(fd);
}
