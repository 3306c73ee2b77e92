#include <errno.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>

#include "fs/attr.h"
#include "fs/break.h"
#include "fs/cred.h"
#include "fs/hashfs.h"
#include "fs/later.h"
#include "fs/node.h"
#include "fs/ops.h"
#include "store/base/cleanup.h"

static int set(fuse_req_t req, struct node *n, const char *name, const char *value, size_t size, int flags)
{
	struct hashfs *fs = fs_of(req);
	struct stat st;

	int r = attr_set_xattr(fs, n, name, value, size, flags, req);
	if (r < 0 || !fs->privileged || strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS) != 0)
		return r;
	r = node_stat(fs, n, &st);
	if (r == 0 && (st.st_mode & S_ISGID) && !cred_keeps_set_gid(req, &st))
		r = attr_drop_set_gid(fs, n);
	return r;
}

struct new_xattr {
	int flags;
	size_t size;
	size_t name_size;
	char text[];  // the name with its NUL, the value
};

static void set_xattr(fuse_req_t req, fuse_ino_t ino, const void *args)
{
	const struct new_xattr *x = args;

	int r = set(req, node_of(fs_of(req), ino), x->text, x->text + x->name_size, x->size, x->flags);
	if (r == BREAK_TAKES_LONG)
		later_serve(req, ino, set_xattr, x, sizeof(*x) + x->name_size + x->size, false);
	else
		reply_err(req, r);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	size_t name_size = strlen(name) + 1;
	auto_free struct new_xattr *x = malloc(sizeof(*x) + name_size + size);

	if (!x) {
		reply_err(req, -ENOMEM);
		return;
	}
	*x = (struct new_xattr){ .flags = flags, .size = size, .name_size = name_size };
	memcpy(x->text, name, name_size);
	memcpy(x->text + name_size, value, size);
	set_xattr(req, ino, x);
}

static void remove_xattr(fuse_req_t req, fuse_ino_t ino, const void *args)
{
	const char *name = args;

	int r = attr_remove_xattr(fs_of(req), node_of(fs_of(req), ino), name, req);
	if (r == BREAK_TAKES_LONG)
		later_serve(req, ino, remove_xattr, name, strlen(name) + 1, false);
	else
		reply_err(req, r);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	remove_xattr(req, ino, name);
}

// Sizes come from the kernel, which bounds them (XATTR_SIZE_MAX).
static void reply_bytes(fuse_req_t req, const char *buf, int64_t got, size_t size)
{
	if (got < 0)
		reply_err(req, (int)got);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)got);
	else
		fuse_reply_buf(req, buf, (size_t)got);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct hashfs *fs = fs_of(req);
	auto_free char *buf = malloc(size + 1);

	int64_t got = buf ? attr_get_xattr(fs, node_of(fs, ino), name, buf, size) : -ENOMEM;
	reply_bytes(req, buf, got, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct hashfs *fs = fs_of(req);
	auto_free char *buf = malloc(size + 1);

	bool root = fuse_req_ctx(req)->uid == 0;
	int64_t got = buf ? attr_list_xattr(fs, node_of(fs, ino), root, buf, size) : -ENOMEM;
	reply_bytes(req, buf, got, size);
}
