#include "fs/attr.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/break.h"
#include "fs/cred.h"
#include "fs/fuse.h"
#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/opens.h"
#include "fs/twin.h"
#include "store/base/cleanup.h"
#include "store/base/sys.h"
#include "store/xattr.h"

static bool is_root(fuse_req_t req)
{
	return fuse_req_ctx(req)->uid == 0;
}

// As the kernel's setattr_should_drop_suidgid(). Set-gid without the right to execute once meant mandatory
// locking: who is in the group keeps it.
static mode_t without_set_ids(const struct stat *st, fuse_req_t req)
{
	mode_t mode = st->st_mode & ~(mode_t)S_ISUID;

	if ((mode & S_ISGID) && ((mode & S_IXGRP) || !cred_keeps_set_gid(req, st)))
		mode &= ~(mode_t)S_ISGID;
	return mode;
}

static int kill_set_ids_of(int fd, const struct stat *st, fuse_req_t req)
{
	mode_t mode = without_set_ids(st, req);
	return mode == st->st_mode ? 0 : sys_fchmod(fd, mode & 07777);
}

static int kill_set_ids(int fd, fuse_req_t req)
{
	struct stat st;
	return fstat(fd, &st) < 0 ? -errno : kill_set_ids_of(fd, &st, req);
}

// Asks first: to remove what is not there needs a right we may not have.
static int kill_capability(int fd)
{
	if (xattr_get(fd, XATTR_NAME_CAPS, NULL, 0) < 0)
		return 0;
	return xattr_remove(fd, XATTR_NAME_CAPS);
}

static int kill_privileges(int fd, fuse_req_t req)
{
	int r = kill_capability(fd);
	return r < 0 ? r : kill_set_ids(fd, req);
}

int attr_kill_privileges(int fd, fuse_req_t req)
{
	return is_root(req) ? 0 : kill_privileges(fd, req);
}

bool attr_has_rights(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || (st.st_mode & (S_ISUID | S_ISGID)) ||
	       xattr_get(fd, XATTR_NAME_CAPS, NULL, 0) >= 0;
}

int attr_touch(int fd)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
	return sys_utimens(fd, times);
}

static int set_owner(int fd, const struct stat *st, int to_set, fuse_req_t req)
{
	struct stat before;
	uid_t uid = to_set & FUSE_SET_ATTR_UID ? st->st_uid : (uid_t)-1;
	gid_t gid = to_set & FUSE_SET_ATTR_GID ? st->st_gid : (gid_t)-1;

	if (fstat(fd, &before) < 0 || fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		return -errno;
	// We may keep set-gid, and so have.
	return S_ISREG(before.st_mode) && !is_root(req) ? kill_set_ids_of(fd, &before, req) : 0;
}

// XFS and btrfs leave the times alone where truncate(2) finds the size right, but not where ftruncate(2)
// does. By a descriptor that may be allowed which the mode now forbids, to all but root.
static int set_size(struct hashfs *fs, struct node *n, int path, off_t size, int opened)
{
	if (opened == ATTR_BY_PATH)
		return truncate(fd_path(path).text, size) < 0 ? -errno : 0;
	auto_close int fd = node_open(fs, n, O_WRONLY);
	if (fd == -EACCES && opened >= 0)
		return ftruncate(opened, size) < 0 ? -errno : 0;
	if (fd < 0)
		return fd;
	return ftruncate(fd, size) < 0 ? -errno : 0;
}

static struct timespec new_time(struct timespec value, bool set, bool now)
{
	if (now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (set)
		return value;
	return (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static int set_both_times(int fd, const struct stat *st, int to_set)
{
	const struct timespec times[2] = {
		new_time(st->st_atim, to_set & FUSE_SET_ATTR_ATIME, to_set & FUSE_SET_ATTR_ATIME_NOW),
		new_time(st->st_mtim, to_set & FUSE_SET_ATTR_MTIME, to_set & FUSE_SET_ATTR_MTIME_NOW),
	};
	return sys_utimens(fd, times);
}

#define SET_OWNER (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)
#define SET_ATIME (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)
#define SET_MTIME (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)
#define SET_TIMES (SET_ATIME | SET_MTIME)
#define SET_ANY (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_SIZE | SET_OWNER | SET_TIMES)

// A break in a directory puts its times back (break.c): not over those that are set meanwhile.
static int set_both_times_of(struct node *n, int fd, const struct stat *st, int to_set)
{
	if (!n->names)
		return set_both_times(fd, st, to_set);
	auto_unlock pthread_mutex_t *held = mutex_hold(n->names);
	return set_both_times(fd, st, to_set);
}

// The owner before the mode, because chown drops set-uid; times last, because truncation moves them.
static int apply(struct hashfs *fs, struct node *n, int fd, const struct stat *st, int to_set, int opened,
		 fuse_req_t req)
{
	bool kill = (to_set & FUSE_SET_ATTR_SIZE) && (!is_root(req) || (to_set & FUSE_SET_ATTR_KILL_SUID));
	int r = 0;

	if (to_set & SET_OWNER)
		r = set_owner(fd, st, to_set, req);
	if (r == 0 && (to_set & FUSE_SET_ATTR_MODE))
		r = sys_fchmod(fd, st->st_mode & 07777);
	if (r == 0 && (to_set & FUSE_SET_ATTR_SIZE))
		r = set_size(fs, n, fd, st->st_size, opened);
	if (r == 0 && kill)
		r = kill_privileges(fd, req);
	if (r == 0 && (to_set & SET_TIMES))
		r = set_both_times_of(n, fd, st, to_set);
	return r;
}

// A truncation by path must end at the node its caller will ask for the size next.
static bool must_look_again(struct hashfs *fs, struct node *n, int to_set, pid_t tid)
{
	return (to_set & FUSE_SET_ATTR_SIZE) && node_must_look_again(fs, n, tid);
}

// A change of nothing comes with a write that drops set-uid, or with chown(-1, -1), which is anybody's and
// unchecked: only the owner's, and root's, drops it, and a write is one by who has the file open for that
// himself. A capability the kernel has dropped itself.
static int change_nothing(struct hashfs *fs, struct node *n, fuse_req_t req)
{
	struct stat st;

	bool written = opens_for_writing(fs, n);
	if (!S_ISREG(n->type) || (written && is_root(req)))
		return 0;
	int r = node_stat(fs, n, &st);
	if (r < 0 || without_set_ids(&st, req) == st.st_mode)
		return r;
	if (!is_root(req) && fuse_req_ctx(req)->uid != st.st_uid &&
	    !(written && cred_writes_to(req, fs->shown_dev, n->ino)))
		return -EPERM;

	r = break_link(fs, n, BREAK_KEEP_ALL);
	if (r < 0)
		return r;
	auto_close int fd = node_open(fs, n, O_PATH | O_NOFOLLOW);
	return fd < 0 ? fd : kill_set_ids(fd, req);
}

// Who may write to a file may truncate it and set its times to now.
static bool takes_owner(int to_set)
{
	bool atime = (to_set & SET_ATIME) == FUSE_SET_ATTR_ATIME;
	bool mtime = (to_set & SET_MTIME) == FUSE_SET_ATTR_MTIME;
	return atime || mtime || (to_set & (FUSE_SET_ATTR_MODE | SET_OWNER));
}

// The mode to set: the kernel has taken set-gid off by the group that it knows.
static int check_mode(struct hashfs *fs, struct node *n, fuse_req_t req, mode_t *mode)
{
	struct stat st;

	int r = node_stat(fs, n, &st);
	if (r < 0 || !S_ISREG(n->type))
		return r;
	if ((*mode & S_ISGID) && !cred_keeps_set_gid(req, &st))
		*mode &= ~(mode_t)S_ISGID;
	return *mode & (S_ISUID | S_ISGID) ? twin_check_rights(fs, n) : 0;
}

// What has been broken is changed through the copy that is open already: a shortened one is what the guest
// has, whatever fails now.
static int set_some(struct hashfs *fs, struct node *n, const struct stat *st, int to_set, int opened,
		    fuse_req_t req)
{
	struct stat to = *st;
	auto_unlock pthread_mutex_t *held = NULL;
	auto_close int fd = -1;

	bool sized = to_set & FUSE_SET_ATTR_SIZE;
	int broken = break_link_open(fs, n, sized ? (uint64_t)st->st_size : BREAK_KEEP_ALL, &fd);
	if (broken < 0)
		return broken;
	if (fd < 0)
		fd = node_open(fs, n, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;
	int r = takes_owner(to_set) ? twin_hold_owner(fs, n, req, &held) : 0;
	if (r == 0 && held && (to_set & FUSE_SET_ATTR_MODE))
		r = check_mode(fs, n, req, &to.st_mode);
	if (r < 0)
		return r;
	// The copy has the wanted size already, so truncating it would not move its times.
	if (broken == BROKEN_SHORTENED && !(to_set & SET_MTIME))
		to_set |= FUSE_SET_ATTR_MTIME_NOW;
	return apply(fs, n, fd, &to, to_set, opened, req);
}

int attr_set(struct hashfs *fs, struct node *n, const struct stat *st, int to_set, int opened, fuse_req_t req,
	     struct stat *ret)
{
	pid_t tid = fuse_req_ctx(req)->pid;
	int r = to_set & SET_ANY ? set_some(fs, n, st, to_set, opened, req) : change_nothing(fs, n, req);
	if (r < 0)
		return r;
	if (must_look_again(fs, n, to_set, tid))
		return -ESTALE;
	stale_settled(&fs->stale, tid);
	return node_stat(fs, n, ret);
}

// Does the call fail whatever we do? Then nothing is broken for it.
static int would_fail(int64_t present, int flags)
{
	if (present < 0 && present != -ENODATA)
		return (int)present;
	if (present == -ENODATA && (flags & XATTR_REPLACE))
		return -ENODATA;
	if (present >= 0 && (flags & XATTR_CREATE))
		return -EEXIST;
	return 0;
}

static bool is_acl(const char *name)
{
	return strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS) == 0 ||
	       strcmp(name, XATTR_NAME_POSIX_ACL_DEFAULT) == 0;
}

// What the kernel allows to the owner alone, by what it knows; the rest it allows to who may write.
static int hold_for_xattr(struct hashfs *fs, struct node *n, const char *name, fuse_req_t req,
			  pthread_mutex_t **ret_held)
{
	if (is_acl(name))
		return twin_hold_owner(fs, n, req, ret_held);
	if (strcmp(name, XATTR_NAME_CAPS) != 0)
		return 0;
	*ret_held = twin_hold(fs, n);
	return *ret_held ? twin_check_rights(fs, n) : 0;
}

int attr_set_xattr(struct hashfs *fs, struct node *n, const char *name, const void *value, size_t size,
		   int flags, fuse_req_t req)
{
	auto_unlock pthread_mutex_t *held = NULL;

	if (xattr_is_ours(name))
		return -EPERM;
	if (node_is_link(fs, n)) {
		int r = would_fail(attr_get_xattr(fs, n, name, NULL, 0), flags);
		if (r == 0)
			r = break_link(fs, n, BREAK_KEEP_ALL);
		if (r < 0)
			return r;
	}
	int r = hold_for_xattr(fs, n, name, req, &held);
	if (r < 0)
		return r;
	auto_close int fd = node_open(fs, n, O_PATH | O_NOFOLLOW);
	return fd < 0 ? fd : xattr_set(fd, name, value, size, flags);
}

int attr_drop_set_gid(struct hashfs *fs, struct node *n)
{
	struct stat st;
	auto_close int fd = node_open(fs, n, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_mode & S_ISGID ? sys_fchmod(fd, st.st_mode & 07777 & ~(mode_t)S_ISGID) : 0;
}

int attr_remove_xattr(struct hashfs *fs, struct node *n, const char *name, fuse_req_t req)
{
	auto_unlock pthread_mutex_t *held = NULL;

	if (xattr_is_ours(name))
		return -ENODATA;
	if (node_is_link(fs, n)) {
		int64_t present = attr_get_xattr(fs, n, name, NULL, 0);
		if (present == -ENODATA && is_acl(name))
			return 0;  // as filesystems do
		int r = present < 0 ? (int)present : break_link(fs, n, BREAK_KEEP_ALL);
		if (r < 0)
			return r;
	}
	int r = is_acl(name) ? twin_hold_owner(fs, n, req, &held) : 0;
	if (r < 0)
		return r;
	auto_close int fd = node_open(fs, n, O_PATH | O_NOFOLLOW);
	return fd < 0 ? fd : xattr_remove(fd, name);
}

int64_t attr_get_xattr(struct hashfs *fs, struct node *n, const char *name, void *buf, size_t size)
{
	if (xattr_is_ours(name) || (strcmp(name, XATTR_NAME_CAPS) == 0 && node_lacks_rights(fs, n)))
		return -ENODATA;
	auto_close int fd = node_open(fs, n, O_PATH | O_NOFOLLOW);
	return fd < 0 ? fd : xattr_get(fd, name, buf, size);
}

static bool is_hidden(const char *name, bool root)
{
	return xattr_is_ours(name) ||
	       (!root && strncmp(name, XATTR_TRUSTED_PREFIX, XATTR_TRUSTED_PREFIX_LEN) == 0);
}

// Takes what the caller may not see out of the list in place and returns what is left of it.
static int64_t hide(char *list, int64_t size, bool root)
{
	int64_t kept = 0;

	for (int64_t i = 0; i < size;) {
		int64_t length = (int64_t)strlen(list + i) + 1;
		if (!is_hidden(list + i, root)) {
			memmove(list + kept, list + i, (size_t)length);
			kept += length;
		}
		i += length;
	}
	return kept;
}

int64_t attr_list_xattr(struct hashfs *fs, struct node *n, bool root, char *buf, size_t size)
{
	auto_close int fd = node_open(fs, n, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;

	// The caller's buffer may be right for the rest and too small for the whole.
	auto_free char *all = malloc(XATTR_LIST_MAX);
	if (!all)
		return -ENOMEM;
	int64_t got = xattr_list(fd, all, XATTR_LIST_MAX);
	if (got < 0)
		return got;

	got = hide(all, got, root);
	if (size == 0)
		return got;
	if ((uint64_t)got > size)
		return -ERANGE;
	memcpy(buf, all, (size_t)got);
	return got;
}

// The private file, to set its flags.
static int open_private(struct hashfs *fs, struct node *n, fuse_req_t req, pthread_mutex_t **ret_held)
{
	*ret_held = NULL;
	int r = break_link(fs, n, BREAK_KEEP_ALL);
	if (r >= 0)
		r = twin_hold_owner(fs, n, req, ret_held);
	return r < 0 ? r : node_open(fs, n, O_RDONLY | O_NONBLOCK);
}

int attr_set_flags(struct hashfs *fs, struct node *n, unsigned flags, fuse_req_t req)
{
	auto_unlock pthread_mutex_t *held = NULL;
	auto_close int fd = open_private(fs, n, req, &held);
	return fd < 0 ? fd : sys_flags_set(fd, flags);
}

int attr_set_fsxattr(struct hashfs *fs, struct node *n, const struct fsxattr *attr, fuse_req_t req)
{
	auto_unlock pthread_mutex_t *held = NULL;
	auto_close int fd = open_private(fs, n, req, &held);
	return fd < 0 ? fd : sys_fsxattr_set(fd, attr);
}
