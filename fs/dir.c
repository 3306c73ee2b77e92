#include "fs/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/break.h"
#include "fs/cred.h"
#include "fs/dirs.h"
#include "fs/fuse.h"
#include "fs/hashfs.h"
#include "fs/node.h"
#include "store/base/cleanup.h"
#include "store/base/sys.h"
#include "store/mark.h"
#include "store/store.h"
#include "store/tmp.h"

// Is @name in the open directory the store?
static bool is_store(const struct hashfs *fs, int dir, const char *name)
{
	struct stat st;

	if (strcmp(name, STORE_DIR) != 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	return st.st_ino == fs->store->ino && st.st_dev == fs->store->dev;
}

// Creating

// What came of a creation that fails after all is not to stay: the kernel takes the name for absent.
static void unmake(struct node *parent, int dir, const char *name, const struct stat *made)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(parent->names);
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == made->st_ino &&
	    st.st_dev == made->st_dev)
		unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
}

static int make_as_caller(struct hashfs *fs, int dir, const struct dir_new *what, struct stat *ret)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(what->parent->names);
	int r;

	cred_enter(fs, what->caller);
	if (S_ISDIR(what->mode))
		r = mkdirat(dir, what->name, what->mode & 07777);
	else if (S_ISLNK(what->mode))
		r = symlinkat(what->target, dir, what->name);
	else
		r = mknodat(dir, what->name, what->mode, what->rdev);
	r = r < 0 ? -errno : 0;
	cred_leave(fs, what->caller);
	if (r == 0 && fstatat(dir, what->name, ret, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	return r;
}

int dir_make(struct hashfs *fs, const struct dir_new *what, struct fuse_entry_param *ret)
{
	auto_dir struct open_dir dir = dirs_open(fs, what->parent);
	if (dir.fd < 0)
		return dir.fd;
	if (is_store(fs, dir.fd, what->name))
		return -EPERM;  // the name is taken, by what the guest cannot see

	struct stat made = { 0 };
	int r = make_as_caller(fs, dir.fd, what, &made);
	if (r < 0)
		return r;
	r = node_lookup_in(fs, what->parent, dir.fd, what->name, ret);
	if (r < 0)
		unmake(what->parent, dir.fd, what->name, &made);
	return r;
}

static int open_as_caller(struct hashfs *fs, int dir, const struct dir_new *what, const char *name, int flags)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(what->parent->names);

	cred_enter(fs, what->caller);
	int fd = openat(dir, name, flags | O_CLOEXEC, what->mode & 07777);
	fd = fd < 0 ? -errno : fd;
	cred_leave(fs, what->caller);
	return fd;
}

// What was just created, as a node that is open. An fd that the node keeps must not be one for writing.
static int enter_new(struct hashfs *fs, int flags, int *fd, struct fuse_entry_param *ret,
		     struct opened *ret_opened)
{
	auto_close int path = fs->handles ? -1 : open(fd_path(*fd).text, O_PATH | O_CLOEXEC);
	if (path < 0 && !fs->handles)
		return -errno;

	int r = node_lookup_fd(fs, fs->handles ? fd : &path, ret);
	if (r < 0)
		return r;

	struct node *n = node_of(fs, ret->ino);
	r = opens_begin_new(fs, n, flags, fd, ret_opened);
	if (r < 0)
		node_put(fs, n, 1);
	return r;
}

int dir_create(struct hashfs *fs, const struct dir_new *what, int flags, struct fuse_entry_param *ret,
	       struct opened *ret_opened)
{
	auto_dir struct open_dir dir = dirs_open(fs, what->parent);
	if (dir.fd < 0)
		return dir.fd;
	if (is_store(fs, dir.fd, what->name))
		return -EPERM;

	// The kernel asks for creation after a look-up that found nothing. What is there now came from
	// elsewhere.
	auto_close int fd = open_as_caller(fs, dir.fd, what, what->name, O_CREAT | O_EXCL | O_RDWR);
	if (fd < 0)
		return fd == -EEXIST && !(flags & O_EXCL) ? -ESTALE : fd;
	struct stat made;
	if (fstat(fd, &made) < 0)
		return -errno;
	int r = enter_new(fs, flags, &fd, ret, ret_opened);
	if (r < 0)
		unmake(what->parent, dir.fd, what->name, &made);
	return r;
}

int dir_tmpfile(struct hashfs *fs, const struct dir_new *what, int flags, struct fuse_entry_param *ret,
		struct opened *ret_opened)
{
	auto_dir struct open_dir dir = dirs_open(fs, what->parent);
	if (dir.fd < 0)
		return dir.fd;

	int unlinkable = flags & O_EXCL;  // such a file can never get a name
	auto_close int fd = open_as_caller(fs, dir.fd, what, ".", O_TMPFILE | O_RDWR | unlinkable);
	if (fd < 0)
		return fd;

	auto_close int path = open(fd_path(fd).text, O_PATH | O_CLOEXEC);
	if (path < 0)
		return -errno;
	if (path >= fs->most_files)
		return -ENFILE;  // it is kept for as long as the guest has the file open
	int r = enter_new(fs, flags, &fd, ret, ret_opened);
	if (r == 0)
		node_pin(fs, node_of(fs, ret->ino), &path);
	return r;
}

// A mark on a file with one name says nothing; with a second name it would make a link of what is none.
static int drop_idle_mark(struct hashfs *fs, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return 0;
	int r = mark_remove(fs->store->marks, fd);
	return r == -EOPNOTSUPP ? 0 : r;
}

static int link_fd(int fd, struct node *parent, int dir, const char *name)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(parent->names);

	return fd_link(fd, dir, name);
}

int dir_link(struct hashfs *fs, struct node *n, struct node *parent, const char *name, pid_t tid,
	     struct fuse_entry_param *ret)
{
	auto_dir struct open_dir dir = dirs_open(fs, parent);
	if (dir.fd < 0)
		return dir.fd;
	if (is_store(fs, dir.fd, name))
		return -EPERM;
	if (faccessat(dir.fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;  // before anything is broken for it

	int r = break_link(fs, n, BREAK_KEEP_ALL);
	if (r < 0)
		return r;
	// Else the old name would go on showing what descriptors read, and the new one the guest's file.
	if (node_must_look_again(fs, n, tid))
		return -ESTALE;
	stale_settled(&fs->stale, tid);

	auto_close int fd = node_open(fs, n, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;
	r = drop_idle_mark(fs, fd);
	if (r == 0)
		r = link_fd(fd, parent, dir.fd, name);
	if (r < 0)
		return r;
	node_unpin(fs, n);
	struct stat linked;
	if (fstat(fd, &linked) < 0)
		return -errno;
	r = node_lookup_fd(fs, &fd, ret);
	if (r < 0)
		unmake(parent, dir.fd, name, &linked);
	return r;
}

// Removing and renaming

// What a name has before it goes. *ret_fd is an O_PATH fd of it.
static int look_at(int dir, const char *name, int *ret_fd, struct stat *ret)
{
	auto_close int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, ret) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

int dir_remove(struct hashfs *fs, struct node *parent, const char *name, int flags)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(parent->names);
	auto_close int fd = -1;
	struct stat st;

	auto_dir struct open_dir dir = dirs_open(fs, parent);
	if (dir.fd < 0)
		return dir.fd;
	if (is_store(fs, dir.fd, name))
		return -ENOENT;

	int r = look_at(dir.fd, name, &fd, &st);
	if (r < 0)
		return r;
	if (unlinkat(dir.fd, name, flags) < 0)
		return -errno;
	fstat(fd, &st);  // another of its names may have gone at the same time
	node_unlinked(fs, parent, name, &st, &fd);
	return 0;
}

static void lock_both(struct node *a, struct node *b)
{
	mutex_lock(a < b ? a->names : b->names);
	if (a != b)
		mutex_lock(a < b ? b->names : a->names);
}

static void unlock_both(struct node *a, struct node *b)
{
	mutex_unlock(a->names);
	if (a != b)
		mutex_unlock(b->names);
}

struct rename {
	struct node_name from, to;
	struct open_dir from_dir, to_dir;
	unsigned flags;
	const struct fuse_ctx *caller;
	int victim;  // owned: what the new name had, or -1
	struct stat victim_st;
};

// Do both names name one inode?
static bool is_one_inode(const struct rename *r)
{
	struct stat st;

	return r->victim >= 0 && fstatat(r->from_dir.fd, r->from.name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_ino == r->victim_st.st_ino && st.st_dev == r->victim_st.st_dev;
}

static int remove_old_name(struct hashfs *fs, const struct rename *r)
{
	if (r->flags & RENAME_WHITEOUT)
		return tmp_whiteout(fs->store, r->from_dir.fd, r->from.name);
	return unlinkat(r->from_dir.fd, r->from.name, 0) < 0 ? -errno : 0;
}

// rename(2) of two names of one inode does nothing. To the guest two links are two files, and one of them
// replaces the other: with equal content and metadata that is to remove the old name. To exchange them is
// nothing but new times of the directories.
static int rename_twins(struct hashfs *fs, const struct rename *r)
{
	const struct timespec now[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };

	int e = r->flags & RENAME_EXCHANGE ? 0 : remove_old_name(fs, r);
	if (e < 0)
		return e;
	sys_utimens(r->from_dir.fd, now);
	sys_utimens(r->to_dir.fd, now);
	return 0;
}

static int rename_on_disk(struct hashfs *fs, const struct rename *r)
{
	int twins = is_one_inode(r) ? mark_is_link(fs->store->marks, r->victim, &r->victim_st) : 0;
	if (twins != 0)
		return twins < 0 ? twins : rename_twins(fs, r);
	return renameat2(r->from_dir.fd, r->from.name, r->to_dir.fd, r->to.name, r->flags) < 0 ? -errno : 0;
}

// A whiteout is the caller's, as all else that is made.
static int rename_as_caller(struct hashfs *fs, const struct rename *r)
{
	if (!(r->flags & RENAME_WHITEOUT))
		return rename_on_disk(fs, r);
	cred_enter(fs, r->caller);
	int e = rename_on_disk(fs, r);
	cred_leave(fs, r->caller);
	return e;
}

static void rename_nodes(struct hashfs *fs, struct rename *r)
{
	bool exchange = r->flags & RENAME_EXCHANGE;

	if (!exchange && r->victim >= 0) {
		// A guest's own two names of one private file: natively nothing happens, too.
		if (is_one_inode(r))
			return;
		fstat(r->victim, &r->victim_st);
		node_unlinked(fs, r->to.parent, r->to.name, &r->victim_st, &r->victim);
	}
	node_renamed(fs, &r->from, &r->to, exchange);
}

// Look-ups wait while the names on disk are not those of the nodes.
static void publish_both(struct hashfs *fs, const struct rename *r, bool begun)
{
	node_publishing(fs, r->from.parent, begun);
	node_publishing(fs, r->to.parent, begun);
}

static int rename_locked(struct hashfs *fs, struct rename *r)
{
	if (is_store(fs, r->from_dir.fd, r->from.name))
		return -ENOENT;
	if (is_store(fs, r->to_dir.fd, r->to.name))
		return -EPERM;
	int e = look_at(r->to_dir.fd, r->to.name, &r->victim, &r->victim_st);
	if (e < 0 && e != -ENOENT)
		return e;
	if (r->victim >= 0 && (r->flags & RENAME_NOREPLACE))
		return -EEXIST;

	publish_both(fs, r, true);
	e = rename_as_caller(fs, r);
	if (e == 0)
		rename_nodes(fs, r);
	publish_both(fs, r, false);
	return e;
}

static int rename_open(struct hashfs *fs, struct rename *r)
{
	r->from_dir = dirs_open(fs, r->from.parent);
	if (r->from_dir.fd < 0)
		return r->from_dir.fd;
	r->to_dir = dirs_open(fs, r->to.parent);
	if (r->to_dir.fd < 0)
		return r->to_dir.fd;
	r->from.copy = strdup(r->from.name);
	r->to.copy = strdup(r->to.name);
	return r->from.copy && r->to.copy ? 0 : -ENOMEM;
}

static void rename_close(struct rename *r)
{
	free(r->from.copy);
	free(r->to.copy);
	cleanup_close(&r->victim);
	dirs_close(&r->to_dir);
	dirs_close(&r->from_dir);
}

int dir_rename(struct hashfs *fs, struct node *parent, const char *name, struct node *new_parent,
	       const char *new_name, unsigned flags, const struct fuse_ctx *caller)
{
	struct rename r = {
		.from = { .parent = parent, .name = name },
		.to = { .parent = new_parent, .name = new_name },
		.from_dir.fd = -1,
		.to_dir.fd = -1,
		.victim = -1,
		.flags = flags,
		.caller = caller,
	};

	int e = rename_open(fs, &r);
	if (e == 0) {
		lock_both(parent, new_parent);
		e = rename_locked(fs, &r);
		unlock_both(parent, new_parent);
	}
	rename_close(&r);
	return e;
}
