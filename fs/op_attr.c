#include <errno.h>
#include <limits.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/attr.h"
#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/ops.h"
#include "store/base/cleanup.h"

static void reply_attr(fuse_req_t req, struct node *n, int r, const struct stat *st)
{
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_attr(req, st, node_attr_timeout(fs_of(req), n));
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);
	struct stat st;

	(void)fi;
	reply_attr(req, n, node_stat(fs, n, &st), &st);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *change, int to_set, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);
	struct stat st;

	(void)fi;
	reply_attr(req, n, attr_set(fs, n, change, to_set, fuse_req_ctx(req), &st), &st);
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

	(void)ino;
	if (fstatvfs(fs->pool, &st) < 0)
		reply_err(req, -errno);
	else
		fuse_reply_statfs(req, &st);
}
