#include "hashify/openpool.h"

#include "hashify/nested.h"
#include "hashify/text.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/log.h"
#include "store/base/sys.h"
#include "store/marked.h"
#include "store/pool.h"
#include "store/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

struct sentence {
	int err;  // 0: any other, which is named in between
	const char *what;
	const char *todo;
};

// What goes wrong with the pool itself.
static const struct sentence pool_sentences[] = {
	{ ENOENT, "does not exist", "expected the directory that holds the guests; check the path" },
	{ ENOTDIR, "is not a directory", "expected the directory that holds the guests; name that one" },
	{ EACCES, "no permission to open it",
	  "expected a pool of your own; run hashify as its owner or as root" },
	{ 0, "cannot be opened", "expected the directory that holds the guests; see the kernel log" },
};

// And with its store, in opening, making and locking it.
static const struct sentence store_sentences[] = {
	{ EBADMSG, "its store (" STORE_DIR ") is not one to be trusted",
	  "expected a directory of mode 0700 with objects, tmp and an unchanged format file; if its mode was "
	  "changed, chmod 700 it; if something is missing, restore that from a backup; do not remove it, as "
	  "guests' files are still linked to it" },
	{ EPROTONOSUPPORT, "its store (" STORE_DIR ") is of a version, digest or policy that is unknown here",
	  "expected version 1 with xxh3-128; use the newer hashify that made it" },
	{ EROFS, "is on a read-only filesystem",
	  "expected one that can be written; remount it (mount -o remount,rw), or look with --dry-run" },
	{ EOPNOTSUPP, "its filesystem lacks hard links, extended attributes, RENAME_EXCHANGE or O_TMPFILE",
	  "expected one like ext4, XFS or btrfs; move the pool to such a filesystem" },
	{ EACCES, "no permission to use its store (" STORE_DIR ")",
	  "expected one of your own; run hashify as the user who made it, root for root's" },
	{ ESTALE, "its store (" STORE_DIR ") was copied with it and its marks are not true",
	  "expected the store of this pool; run `hashify POOL`, which renews them" },
	{ 0, "its store (" STORE_DIR ") cannot be used",
	  "expected one that can be read and written; see the kernel log" },
};

static void say(const char *path, const struct sentence *s, int err)
{
	err = err == -EPERM ? EACCES : -err;
	while (s->err != 0 && s->err != err)
		s++;
	if (s->err != 0)
		log_error("%s: %s; %s", path, s->what, s->todo);
	else
		log_error("%s: %s: %s; %s", path, s->what, strerror(err), s->todo);
}

struct saying {
	const char *path;
	unsigned mounts;
};

#define MOUNTS_NAMED 3

static int say_mount(const struct registration *r, void *arg)
{
	struct saying *saying = arg;
	if (++saying->mounts > MOUNTS_NAMED)
		return 0;
	if (registry_shows(r->mountpoint))
		log_error(
			"%s is in use: %s%s is mounted at %s (hashfs, pid %d); unmount it and run hashify again",
			saying->path, saying->path, registration_below(r), r->mountpoint, (int)r->pid);
	else
		log_error(
			"%s is in use: hashfs (pid %d) serves %s%s, which was mounted at %s and is not in this "
			"mount namespace any more: it was unmounted lazily and something uses it still, or another "
			"namespace, a container's, has it; end what uses it, or that hashfs (kill %d, if this is "
			"hashfs here: a container counts its own), and run hashify again",
			saying->path, (int)r->pid, saying->path, registration_below(r), r->mountpoint,
			(int)r->pid);
	return 0;
}

static void say_changing(const char *path)
{
	log_error("%s is in use: another hashify runs on it; wait for its end and run hashify again", path);
}

static void say_locked(struct store *s, const char *path, enum openpool_mode mode)
{
	struct saying saying = { .path = path };
	if (mode == OPENPOOL_CHANGE)
		registry_each(s, say_mount, &saying);
	if (saying.mounts > MOUNTS_NAMED)
		log_error("%s is in use: and %u more are mounted; `findmnt -t fuse.hashfs` lists them", path,
			  saying.mounts - MOUNTS_NAMED);
	if (saying.mounts == 0)
		log_error("%s is in use: another hashify runs on it, or a hashfs is starting; "
			  "wait for its end and run hashify again",
			  path);
}

static bool is_same_file(int a, int b)
{
	struct stat x, y;
	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// A directory without a store may be a guest, or the view a mount gives of one: a store made there would be
// of no use.
static int check_place(const char *path, int pool)
{
	struct statfs fs;
	if (fstatfs(pool, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC) {
		log_error("%s: is on a FUSE filesystem, a mount of hashfs perhaps; expected the pool itself; "
			  "name the directory that is mounted there",
			  path);
		return -1;
	}
	auto_free char *above = NULL;
	auto_close int found = pool_find(path, &above);
	if (found >= 0 && !is_same_file(found, pool)) {
		log_error("%s: lies in the pool %s; expected the pool; name %s", path, above, above);
		return -1;
	}
	return 0;
}

static bool is_readonly(int fd)
{
	struct statvfs st;
	return fstatvfs(fd, &st) == 0 && (st.f_flag & ST_RDONLY);
}

// -ESTALE: looking changes nothing, and can't see what is shared.
static int renew(struct store *s, const char *path, enum openpool_mode mode)
{
	if (mode != OPENPOOL_CHANGE)
		return -ESTALE;
	log_warning("%s: its store (" STORE_DIR ") was copied with it; marking its objects anew", path);
	return store_renew(s);
}

// Objects that were put there by others, without their marks.
static void renew_marks(struct store *s, const char *path)
{
	uint64_t renewed;

	int r = marked_renew_changed(s, &renewed);
	if (renewed > 0)
		log_warning("%s: %" PRIu64
			    " %s lost, as after a restore of some files, and given again. A mount that was "
			    "served meanwhile may have written to what has it: run `hashify verify %s`",
			    path, renewed, text_plural(renewed, "object's mark was", "objects' marks were"),
			    path);
	if (r < 0)
		log_warning(
			"%s: not all objects that have lost their marks can get them again: %s; run `hashify "
			"verify %s`, which names them, before you mount anything",
			path, strerror(-r), path);
}

// Who names a directory above a pool would hide that pool's store from all mounts to come.
static int check_guests(const char *path, int pool)
{
	auto_free char *found = nested_find(pool, false);
	auto_free char *guest = found ? text_printable(found) : NULL;
	if (!guest)
		return found ? -1 : 0;
	log_error(
		"%s: has no store, but %s/%s in it has: that is a pool already; expected the pool; name %s/%s, "
		"or, if %s is to be one with that as a guest, run `hashify unshare %s/%s`, remove "
		"%s/%s/" STORE_DIR ", and run hashify again",
		path, path, guest, path, guest, path, path, guest, path, guest);
	return -1;
}

// 0, or -1: the reason was said.
static int make_store(const char *path, int pool)
{
	int r = store_create(pool);
	if (r == 0 || r == -EEXIST)  // another hashify may have been faster
		return 0;
	say(path, store_sentences, r);
	return -1;
}

static int see_any(const struct registration *r, void *arg)
{
	(void)r, (void)arg;
	return 1;
}

static int see_mount(const struct registration *r, void *arg)
{
	(void)arg;
	return registry_shows(r->mountpoint);
}

// Does our namespace show a mount of the pool?
static bool shows_mount(struct store *s)
{
	return registry_each(s, see_mount, NULL) != 0;
}

// A daemon outlives its mount by the time that it needs to end, and a nightly pass may meet a `hashify stat`:
// neither is to be in its way.
static int lock_after_mounts(struct store *s)
{
	unsigned waited = 0;
	int r = store_lock(s, STORE_EXCLUSIVE);
	while (r == -EWOULDBLOCK && !shows_mount(s) && registry_wait_ending(&waited))
		r = store_lock(s, STORE_EXCLUSIVE);
	return r;
}

// 0, or -1: the reason was said.
static int lock_store(struct store *s, const char *path, int pool, enum openpool_mode mode)
{
	int r = mode != OPENPOOL_LOOK && is_readonly(pool) ? -EROFS : 0;
	if (r == 0 && mode != OPENPOOL_LOOK)
		r = store_lock_pass(s);
	if (r == -EWOULDBLOCK) {
		say_changing(path);
		return -1;
	}
	if (r == 0 && mode != OPENPOOL_TIDY)
		r = mode == OPENPOOL_CHANGE ? lock_after_mounts(s) : store_lock(s, STORE_SHARED);
	if (r == -EWOULDBLOCK) {
		say_locked(s, path, mode);
		return -1;
	}
	if (r == 0 && s->copied)
		r = renew(s, path, mode);
	else if (r == 0 && mode == OPENPOOL_CHANGE)
		renew_marks(s, path);
	if (r < 0)
		say(path, store_sentences, r);
	return r < 0 ? -1 : 0;
}

// *@ret is NULL where there is none.
static int open_store(const char *path, int pool, enum openpool_mode mode, struct store **ret)
{
	struct store *s = NULL;
	int r = store_open(pool, &s);
	if (r == -ENOENT) {
		*ret = NULL;
		return 0;
	}
	if (r < 0) {
		say(path, store_sentences, r);
		return -1;
	}
	if (lock_store(s, path, pool, mode) < 0) {
		store_close(s);
		return -1;
	}
	*ret = s;
	return 0;
}

// Another fd of it, beneath all mounts if that is asked for and can be had.
static int open_again(int pool, bool beneath)
{
	auto_close int clone = beneath ? sys_open_tree_clone(pool, "") : -1;
	int fd = openat(clone < 0 ? pool : clone, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_pool(const char *path, enum openpool_mode mode, struct openpool *ret)
{
	struct store *s = NULL;
	auto_close int pool = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool < 0) {
		say(path, pool_sentences, -errno);
		return -1;
	}
	if (check_place(path, pool) < 0)
		return -1;
	// Before anything is flushed: an error of writing back is told to all who have it open by then, once.
	auto_close int dir = open_again(pool, false);
	if (dir >= 0 && open_store(path, pool, mode, &s) < 0)
		return -1;
	// A pass over a directory above, which made its store since, did not see our lock.
	if (s && check_place(path, pool) < 0) {
		store_close(s);
		return -1;
	}
	if (s && mode != OPENPOOL_CHANGE && registry_each(s, see_any, NULL) != 0) {
		cleanup_close(&dir);
		dir = open_again(pool, true);
	}
	if (dir < 0) {
		store_close(s);
		say(path, pool_sentences, dir);
		return -1;
	}
	*ret = (struct openpool){ .dir = take_fd(&dir), .mounted = take_fd(&pool), .store = s };
	return 0;
}

// A pool that has no store gets one, unless nothing is to be changed.
static int complete(const char *path, enum openpool_mode mode, struct openpool *p)
{
	if (p->store)
		return 0;
	if (check_guests(path, p->dir) < 0)
		return -1;
	if (mode != OPENPOOL_CHANGE)
		return 0;
	return make_store(path, p->dir) < 0 ? -1 : open_store(path, p->dir, mode, &p->store);
}

int openpool(const char *path, enum openpool_mode mode, struct openpool *ret)
{
	struct statfs fs;
	if (statfs(path, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC) {
		log_error(
			"%s: is on overlayfs, which copies a file to give it another name, so that a pass "
			"frees nothing; expected a filesystem like ext4, XFS or btrfs; move the pool to one, "
			"in a container to a volume",
			path);
		return -1;
	}
	if (open_pool(path, mode, ret) < 0)
		return -1;
	int r = complete(path, mode, ret);
	if (r < 0)
		openpool_close(ret);
	return r;
}

int openpool_with_store(const char *path, enum openpool_mode mode, struct openpool *ret)
{
	int r = open_pool(path, mode, ret);
	if (r < 0 || ret->store)
		return r;
	log_error("%s: has no store; expected a pool that was hashified; run hashify %s first", path, path);
	openpool_close(ret);
	return -1;
}

void openpool_close(struct openpool *p)
{
	store_close(p->store);
	fd_close(p->dir);
	fd_close(p->mounted);
	*p = (struct openpool){ .dir = -1, .mounted = -1 };
}
