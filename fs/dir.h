// Change names: create, link, remove, rename.
#pragma once

#include <sys/types.h>

#include "fs/opens.h"

struct fuse_ctx;
struct fuse_entry_param;
struct hashfs;
struct node;

// What a new name is: made by the ids and umask of @caller.
struct dir_new {
	struct node *parent;
	const char *name;
	mode_t mode;
	dev_t rdev;          // of a device
	const char *target;  // of a symbolic link
	const struct fuse_ctx *caller;
};

// Make a file of the type in @what->mode (mkdir, mknod, symlink) and count a look-up of it in @ret.
int dir_make(struct hashfs *fs, const struct dir_new *what, struct fuse_entry_param *ret);

// Create and open a regular file that is not there yet. -EEXIST, or without O_EXCL -ESTALE, if it is.
int dir_create(struct hashfs *fs, const struct dir_new *what, int flags, struct fuse_entry_param *ret,
	       struct opened *ret_opened);

// Create and open a file without a name in @what->parent.
int dir_tmpfile(struct hashfs *fs, const struct dir_new *what, int flags, struct fuse_entry_param *ret,
		struct opened *ret_opened);

// Give @n a second name for the thread @tid. A link becomes private first: the two names must stay one file.
// -ESTALE: look the old name up again.
int dir_link(struct hashfs *fs, struct node *n, struct node *parent, const char *name, pid_t tid,
	     struct fuse_entry_param *ret);

// @flags: 0 or AT_REMOVEDIR.
int dir_remove(struct hashfs *fs, struct node *parent, const char *name, int flags);

// @flags: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT, which is made by the ids of @caller.
int dir_rename(struct hashfs *fs, struct node *parent, const char *name, struct node *new_parent,
	       const char *new_name, unsigned flags, const struct fuse_ctx *caller);
