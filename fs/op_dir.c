#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fs/break.h"
#include "fs/dir.h"
#include "fs/hashfs.h"
#include "fs/later.h"
#include "fs/node.h"
#include "fs/ops.h"

// If the caller was interrupted it never learns of the entry, so the kernel won't forget it.
static void reply_entry(fuse_req_t req, int r, const struct fuse_entry_param *entry)
{
	struct hashfs *fs = fs_of(req);

	if (r < 0)
		reply_err(req, r);
	else if (fuse_reply_entry(req, entry) < 0)
		node_put(fs, node_of(fs, entry->ino), 1);
}

static struct dir_new new_name(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	return (struct dir_new){
		.parent = node_of(fs_of(req), parent),
		.name = name,
		.mode = mode,
		.caller = fuse_req_ctx(req),
	};
}

static void make(fuse_req_t req, const struct dir_new *what)
{
	struct fuse_entry_param entry;

	int r = dir_make(fs_of(req), what, &entry);
	reply_entry(req, r, &entry);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct dir_new what = new_name(req, parent, name, mode);

	what.rdev = rdev;
	make(req, &what);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct dir_new what = new_name(req, parent, name, S_IFDIR | (mode & 07777));
	make(req, &what);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct dir_new what = new_name(req, parent, name, S_IFLNK);

	what.target = target;
	make(req, &what);
}

struct new_link {
	fuse_ino_t parent;
	char name[NAME_MAX + 1];
};

static void make_link(fuse_req_t req, fuse_ino_t ino, const void *args)
{
	struct hashfs *fs = fs_of(req);
	const struct new_link *l = args;
	struct fuse_entry_param entry;

	int r = dir_link(fs, node_of(fs, ino), node_of(fs, l->parent), l->name, fuse_req_ctx(req)->pid,
			 &entry);
	if (r == BREAK_TAKES_LONG)
		later_serve(req, ino, make_link, l, sizeof(*l), false);
	else
		reply_entry(req, r, &entry);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct new_link args = { .parent = parent };

	snprintf(args.name, sizeof(args.name), "%s", name);  // the kernel lets none pass that is longer
	make_link(req, ino, &args);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct hashfs *fs = fs_of(req);
	reply_err(req, dir_remove(fs, node_of(fs, parent), name, 0));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct hashfs *fs = fs_of(req);
	reply_err(req, dir_remove(fs, node_of(fs, parent), name, AT_REMOVEDIR));
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	       const char *new_name_, unsigned flags)
{
	struct hashfs *fs = fs_of(req);
	reply_err(req, dir_rename(fs, node_of(fs, parent), name, node_of(fs, new_parent), new_name_, flags,
				  fuse_req_ctx(req)));
}

static void reply_create(fuse_req_t req, int r, const struct fuse_entry_param *entry,
			 const struct opened *opened, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);

	if (r < 0) {
		reply_err(req, r);
		return;
	}
	reply_opened(opened, fi);
	if (fuse_reply_create(req, entry, fi) < 0) {
		struct node *n = node_of(fs, entry->ino);
		opens_end(fs, n, fi->flags, opened->file);
		node_put(fs, n, 1);
	}
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct dir_new what = new_name(req, parent, name, mode);
	struct fuse_entry_param entry;
	struct opened opened;

	int r = dir_create(fs_of(req), &what, fi->flags, &entry, &opened);
	reply_create(req, r, &entry, &opened, fi);
}

void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	struct dir_new what = new_name(req, parent, "", mode);
	struct fuse_entry_param entry;
	struct opened opened;

	int r = dir_tmpfile(fs_of(req), &what, fi->flags, &entry, &opened);
	reply_create(req, r, &entry, &opened, fi);
}
