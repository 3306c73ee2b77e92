#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/attr.h"
#include "fs/break.h"
#include "fs/file.h"
#include "fs/hashfs.h"
#include "fs/later.h"
#include "fs/node.h"
#include "fs/ops.h"
#include "store/base/cleanup.h"

static void reply_attr(fuse_req_t req, struct node *n, int r, const struct stat *st)
{
	if (r < 0) {
		reply_err(req, r);
	} else {
		double timeout = node_attr_timeout(fs_of(req), n);
		fuse_reply_attr(req, st, timeout);
	}
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);
	struct stat st;

	(void)fi;
	reply_attr(req, n, node_stat(fs, n, &st), &st);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)

static struct statx_timestamp timestamp(struct timespec t)
{
	return (struct statx_timestamp){ .tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec };
}

static struct statx basic_statx(const struct stat *st)
{
	return (struct statx){
		.stx_mask = STATX_BASIC_STATS,
		.stx_blksize = (uint32_t)st->st_blksize,
		.stx_nlink = (uint32_t)st->st_nlink,
		.stx_uid = st->st_uid,
		.stx_gid = st->st_gid,
		.stx_mode = (uint16_t)st->st_mode,
		.stx_ino = st->st_ino,
		.stx_size = (uint64_t)st->st_size,
		.stx_blocks = (uint64_t)st->st_blocks,
		.stx_atime = timestamp(st->st_atim),
		.stx_mtime = timestamp(st->st_mtim),
		.stx_ctime = timestamp(st->st_ctim),
		.stx_rdev_major = major(st->st_rdev),
		.stx_rdev_minor = minor(st->st_rdev),
	};
}

// Of a deleted file nobody may know.
static void add_birth(struct hashfs *fs, struct node *n, struct statx *to)
{
	struct statx backing;

	auto_close int fd = node_open(fs, n, O_PATH | O_NOFOLLOW);
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &backing) < 0)
		return;
	to->stx_mask |= backing.stx_mask & STATX_BTIME;
	to->stx_btime = backing.stx_btime;
}

// The kernel asks for the time of birth alone in this way, all else is in the attributes it has.
void op_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);
	struct stat st;

	(void)flags, (void)mask, (void)fi;
	int r = node_stat(fs, n, &st);
	if (r == 0) {
		struct statx reply = basic_statx(&st);
		double timeout = node_attr_timeout(fs, n);
		add_birth(fs, n, &reply);
		r = fuse_reply_statx(req, 0, &reply, timeout) == -ENOSYS ? -ENOSYS : 0;
	}
	if (r < 0)
		reply_err(req, r);
}

#endif

struct change {
	struct stat st;
	int to_set;
	int opened;  // attr_set()
};

static void set_attr(fuse_req_t req, fuse_ino_t ino, const void *args)
{
	struct hashfs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);
	const struct change *c = args;
	struct stat st;

	int r = attr_set(fs, n, &c->st, c->to_set, c->opened, req, &st);
	if (r == BREAK_TAKES_LONG)
		later_serve(req, ino, set_attr, c, sizeof(*c), false);
	else
		reply_attr(req, n, r, &st);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	const struct file *f = fi ? file_of(fi) : NULL;
	const struct change args = { .st = *st,
				     .to_set = to_set,
				     .opened = !fi ? ATTR_BY_PATH
					       : f ? f->fd
						   : -1 };

	set_attr(req, ino, &args);
}

static int read_link(struct hashfs *fs, struct node *n, char target[PATH_MAX + 1])
{
	auto_close int fd = node_open(fs, n, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;

	ssize_t length = readlinkat(fd, "", target, PATH_MAX);
	if (length < 0)
		return -errno;
	target[length] = '\0';
	return 0;
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct hashfs *fs = fs_of(req);
	char target[PATH_MAX + 1];

	int r = read_link(fs, node_of(fs, ino), target);
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_readlink(req, target);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct hashfs *fs = fs_of(req);
	struct statvfs st;

	// A directory with a project's quota has that much room.
	auto_close int fd = node_open(fs, node_of(fs, ino), O_PATH | O_NOFOLLOW);
	if (fstatvfs(fd < 0 ? fs->pool : fd, &st) < 0)
		reply_err(req, -errno);
	else
		fuse_reply_statfs(req, &st);
}
