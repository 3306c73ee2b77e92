#include "fs/source.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs/cred.h"
#include "fs/handle.h"
#include "fs/hashfs.h"
#include "fs/idmap.h"
#include "fs/lock.h"
#include "fs/node.h"
#include "fs/options.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/log.h"
#include "store/base/sys.h"
#include "store/pool.h"
#include "store/registry.h"
#include "store/store.h"

static int no_pool(const char *source, int r)
{
	if (r == -ENODATA)
		log_error("%s: in no pool: no directory above it has a store (%s); run `hashify POOL` first",
			  source, STORE_DIR);
	else
		log_error(
			"%s: cannot open the pool that it is in: %s; expected directories above it that can be read",
			source, strerror(-r));
	return r;
}

static int no_store(const char *pool, int r)
{
	if (r == -EPROTONOSUPPORT)
		log_error("%s/%s: a store of a version or kind that this hashfs does not know; use the "
			  "hashify and hashfs "
			  "that made it, or newer ones",
			  pool, STORE_DIR);
	else if (r == -EBADMSG)
		log_error(
			"%s/%s: is not a store to be trusted; expected a directory of mode 0700 with objects, tmp and "
			"an unchanged format file; if its mode was changed, chmod 700 it; if something is missing, "
			"restore that from a backup; do not remove it, as guests' files are still linked to it",
			pool, STORE_DIR);
	else if (r == -EACCES || r == -EPERM)
		log_error("%s/%s: no permission; expected a store of your own or, for root, root's; "
			  "run hashfs as the user who made it",
			  pool, STORE_DIR);
	else
		log_error("%s/%s: cannot open the store: %s", pool, STORE_DIR, strerror(-r));
	return r;
}

// The root of the clone of a mount, open for real: open_by_handle_at(2) takes no O_PATH fd. The mount is then
// nobody's, and its attributes cannot be changed any more once @clone is closed.
static int open_clone(int clone)
{
	int fd = openat(clone, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

// The pool whose store is named.
static int open_named(struct source *s)
{
	const char *store = s->fs->opt->store, *name = strrchr(store, '/');
	auto_free char *pool = name > store ? strndup(store, (size_t)(name - store)) : strdup("/");

	if (!pool)
		return -ENOMEM;
	auto_close int fd = pool_find(pool, &s->pool_path);
	if (fd < 0)
		return no_pool(pool, fd);
	if (strcmp(name + 1, STORE_DIR) == 0 && strcmp(pool, s->pool_path) == 0)
		return take_fd(&fd);
	log_error("%s: not the store of a pool; expected store=%s/%s", store, s->pool_path, STORE_DIR);
	return -EINVAL;
}

static int find_pool(struct source *s)
{
	if (s->fs->opt->store)
		return open_named(s);
	int fd = pool_find(s->fs->opt->source, &s->pool_path);
	return fd < 0 ? no_pool(s->fs->opt->source, fd) : fd;
}

static int no_idmap(const struct source *s, int r)
{
	const char *map = s->fs->opt->idmap;

	if (r == -EINVAL)
		log_error(
			"-o idmap=%s: not for %s: its filesystem shows no other ids (ext4, XFS, btrfs and tmpfs "
			"do), or the ranges overlap",
			map, s->pool_path);
	else
		log_error("-o idmap=%s: cannot show %s with these ids: %s", map, s->pool_path, strerror(-r));
	return r;
}

// Whose id is shifted must be root's: another user's store would be served with root's rights.
static int check_mappable(const struct source *s, int found)
{
	struct stat st;

	if (fstatat(found, STORE_DIR, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_uid == geteuid())
		return 0;  // what is wrong with it is said when it is opened
	return no_store(s->pool_path, -EPERM);
}

// The kernel reads files through the clone in passthrough, so only this keeps it from moving their atimes.
// Without it they move: no more than that.
static void keep_atimes(const struct source *s, int clone)
{
	int r = s->fs->opt->noatime || s->fs->opt->readonly ? sys_mount_noatime(clone) : 0;
	if (r < 0)
		log_warning("%s: access times move: cannot make a clone of its mount noatime: %s",
			    s->pool_path, strerror(-r));
}

// Clones of the pool's mount, so that what is mounted in it elsewhere cannot be reached through a guest.
static int clone_pool(struct source *s, int found)
{
	const char *map = s->fs->opt->idmap;
	int r = map ? check_mappable(s, found) : 0;
	if (r < 0)
		return r;
	auto_close int clone = sys_open_tree_clone(found, "");
	r = clone < 0 ? clone : map ? idmap_apply(clone, map) : 0;
	if (clone >= 0)
		keep_atimes(s, clone);
	if (r == 0)
		r = s->fs->pool = open_clone(clone);
	if (r < 0)
		return map ? no_idmap(s, r) : 0;  // without, it is an ordinary user's mount

	s->fs->privileged = true;
	auto_close int guard = sys_open_tree_clone(found, "");
	if (guard >= 0 && sys_mount_readonly_noatime(guard) == 0)
		s->fs->objects = open_clone(guard);
	return 0;
}

static int check_store(const struct source *s)
{
	if (s->store->marks == MARK_TRUSTED && !s->fs->privileged) {
		log_error("%s/%s: root made this store, and only root can see which files it shares; run "
			  "hashfs as root",
			  s->pool_path, STORE_DIR);
		return -EPERM;
	}
	if (s->store->copied) {
		log_error(
			"%s/%s: this store was copied with its pool or restored, so its marks are not true; run "
			"`hashify %s`, which "
			"renews them",
			s->pool_path, STORE_DIR, s->pool_path);
		return -EBADMSG;
	}
	return 0;
}

// A pass that has made a store further up since we looked, and began before we had the lock, did not see us.
static int check_outermost(const struct source *s)
{
	auto_free char *outermost = NULL;
	auto_close int fd = pool_find(s->pool_path, &outermost);

	if (fd < 0)
		return no_pool(s->pool_path, fd);
	if (strcmp(outermost, s->pool_path) == 0)
		return 0;
	log_error(
		"%s: lies in the pool %s since just now; mount again, or remove the store that is not to be",
		s->pool_path, outermost);
	return -EBUSY;
}

// Opens and locks the store as it is on the disk.
static int open_store(struct source *s, int pool)
{
	int r = store_open(pool, &s->store);
	if (r < 0)
		return no_store(s->pool_path, r);
	r = check_store(s);
	if (r == 0)
		r = lock_store(s->store, s->pool_path);
	return r < 0 ? r : check_outermost(s);
}

// Opens the store once more, with the ids that the mount has.
static int reopen_store(struct source *s)
{
	int r = store_open(s->fs->pool, &s->fs->store);
	if (r < 0)
		return no_store(s->pool_path, r);
	s->fs->store->lock = take_fd(&s->store->lock);
	store_close(s->store);
	s->store = NULL;
	return 0;
}

static int open_pool(struct source *s)
{
	auto_close int found = find_pool(s);
	if (found < 0)
		return found;
	int r = clone_pool(s, found);
	if (r == 0)
		r = open_store(s, found);
	if (r == 0 && !s->fs->privileged)
		s->fs->pool = take_fd(&found);
	return r;
}

// What the daemon makes for itself belongs to the store's owner, who is root, by whatever id the pool shows.
static int become_owner(struct source *s)
{
	struct stat st;

	if (!s->fs->privileged)
		return 0;
	if (s->fs->opt->idmap && fstatat(s->fs->pool, STORE_DIR, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (st.st_uid == IDMAP_NONE || st.st_gid == IDMAP_NONE) {
			log_error("-o idmap=%s: does not show the owner of %s/%s; add a range with its ids",
				  s->fs->opt->idmap, s->pool_path, STORE_DIR);
			return -EOVERFLOW;
		}
		s->fs->uid = st.st_uid;
		s->fs->gid = st.st_gid;
	}
	return cred_init(s->fs);
}

static int not_in_pool(const struct source *s, int r)
{
	if (r == -EPERM)
		log_error("%s: only root can tell what it is in the pool %s; name its path there",
			  s->fs->opt->source, s->pool_path);
	else
		log_error("%s: not a directory in the pool %s, nor another mount of one", s->fs->opt->source,
			  s->pool_path);
	return r;
}

// With a store that is named the source may be a bind mount of a directory in its pool.
static int find_path(struct source *s)
{
	char path[PATH_MAX] = "";

	if (!s->fs->opt->store) {
		s->path = strdup(s->fs->opt->source);
		return s->path ? 0 : -ENOMEM;
	}
	auto_close int source = open(s->fs->opt->source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (source < 0)
		return not_in_pool(s, -errno);
	auto_close int inside = handle_find(s->fs, source);
	if (inside < 0)
		return not_in_pool(s, inside);
	// The clone is mounted nowhere: the path begins at its root, the pool. What that of a directory
	// outside is open_root() finds to be another.
	ssize_t length = readlink(fd_path(inside).text, path, sizeof(path) - 1);
	if (length < 1 || path[0] != '/')
		return not_in_pool(s, -ENOENT);
	return asprintf(&s->path, "%s%s", strcmp(s->pool_path, "/") == 0 ? "" : s->pool_path, path) < 0
		       ? -ENOMEM
		       : 0;
}

// The source's path below the pool; "" is the pool itself.
static const char *path_in_pool(const struct source *s)
{
	const char *below = s->path + strlen(s->pool_path);

	while (*below == '/')
		below++;
	return below;
}

// A daemon outlives its mount by the time that it needs to end: who mounts again at once waits for that.
static int add_registration(struct source *s, const char *below, struct registration *ret_other)
{
	unsigned waited = 0;

	int r = registry_add(s->fs->store, below, s->fs->opt->mountpoint, ret_other);
	while (r == -EBUSY && !registry_shows(ret_other->mountpoint) && registry_wait_ending(&waited)) {
		registration_free(ret_other);
		r = registry_add(s->fs->store, below, s->fs->opt->mountpoint, ret_other);
	}
	return r;
}

static int register_mount(struct source *s)
{
	struct registration other = { 0 };
	auto_free char *below = NULL;

	if (asprintf(&below, "/%s", path_in_pool(s)) < 0)
		return -ENOMEM;
	s->registered = add_registration(s, below, &other);
	if (s->registered == -EBUSY)
		log_error("%s: already served: %s%s is mounted at %s (pid %d); one mount may serve a tree",
			  s->path, s->pool_path, registration_below(&other), other.mountpoint,
			  (int)other.pid);
	else if (s->registered == -EROFS)
		log_error("%s: read-only filesystem; hashfs must write there: mount it read-write and hashfs "
			  "with -o ro",
			  s->pool_path);
	else if (s->registered < 0)
		log_error("%s/%s: cannot register the mount: %s", s->pool_path, STORE_DIR,
			  strerror(-s->registered));
	registration_free(&other);
	return s->registered < 0 ? s->registered : 0;
}

static bool is_in_store(const char *below)
{
	size_t length = strlen(STORE_DIR);
	return strncmp(below, STORE_DIR, length) == 0 && (below[length] == '/' || below[length] == '\0');
}

static int open_source(const struct source *s)
{
	const char *below = path_in_pool(s);

	if (is_in_store(below)) {
		log_error("%s: in the store itself; mount a guest or the pool", s->path);
		return -EINVAL;
	}
	int fd = *below ? beneath_open(s->fs->pool, below, O_PATH | O_DIRECTORY, 0)
			: fcntl(s->fs->pool, F_DUPFD_CLOEXEC, 0);
	if (fd == -EXDEV)
		log_error("%s: on another filesystem than its pool %s; a pool's links reach no further",
			  s->path, s->pool_path);
	else if (fd < 0)
		log_error("%s: cannot open: %s", s->path, strerror(*below ? -fd : errno));
	return fd < 0 ? -ENOENT : fd;
}

// Our clone of the pool's mount does not have what is mounted in the pool.
static bool is_same_directory(const char *path, int fd)
{
	struct stat a, b;

	return stat(path, &a) == 0 && fstat(fd, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int open_root(struct source *s)
{
	auto_close int fd = open_source(s);
	if (fd < 0)
		return fd;
	bool same = is_same_directory(s->fs->opt->source, fd);
	if (!same && s->fs->opt->store)
		return not_in_pool(s, -ENOENT);
	if (!same) {
		log_error(
			"%s: another filesystem is mounted there or above, in its pool %s; a pool's links reach no further",
			s->path, s->pool_path);
		return -EXDEV;
	}
	struct stat root;
	struct statfs st = { 0 };
	if (fstat(fd, &root) < 0 || fstatfs(fd, &st) < 0)
		return -errno;
	s->fs->dev = root.st_dev;
	s->fs->snapshots = st.f_type == BTRFS_SUPER_MAGIC;
	s->fs->stateless_dirs = (st.f_type == EXT4_SUPER_MAGIC || st.f_type == XFS_SUPER_MAGIC) &&
				s->fs->opt->cache < 0;
	s->fs->handles = s->fs->privileged && handle_probe(s->fs, fd);
	return node_root(s->fs, &fd, &s->fs->root);
}

int source_open(struct source *s, struct hashfs *fs)
{
	*s = (struct source){ .fs = fs, .registered = -1 };
	int r = open_pool(s);
	if (r == 0)
		r = find_path(s);
	if (r == 0)
		r = become_owner(s);
	if (r == 0)
		r = reopen_store(s);
	if (r == 0)
		r = register_mount(s);
	if (r == 0)
		r = open_root(s);
	return r;
}

void source_close(struct source *s)
{
	if (s->registered >= 0)
		registry_remove(s->fs->store, s->registered);
	store_close(s->store);
	store_close(s->fs->store);
	cleanup_close(&s->fs->objects);
	cleanup_close(&s->fs->pool);
	free(s->pool_path);
	free(s->path);
}
