// Change what is known of a file: its attributes and xattrs. A link is broken first.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fs/fuse.h"

struct fsxattr;
struct hashfs;
struct node;

// Sets what @to_set, a set of FUSE_SET_ATTR_…, names of @st. An empty set comes with a write and drops what
// that drops (FUSE_HANDLE_KILLPRIV_V2). @opened is the file of the descriptor that a size comes by, or -1; or
// it comes by truncate(2): ATTR_BY_PATH. @ret is the file's status after it, as the guest sees it. -ESTALE:
// look the name up again.
#define ATTR_BY_PATH (-2)
int attr_set(struct hashfs *fs, struct node *n, const struct stat *st, int to_set, int opened, fuse_req_t req,
	     struct stat *ret);

// Drops set-uid, set-gid and file capabilities as a write by the caller of @req does: none if that is root.
int attr_kill_privileges(int fd, fuse_req_t req);

// Has the file set-uid, set-gid or capabilities, or can that not be told?
bool attr_has_rights(int fd);

// The content has changed now.
int attr_touch(int fd);

// setxattr(2), removexattr(2). Names we keep for ourselves: -EPERM, -ENODATA.
int attr_set_xattr(struct hashfs *fs, struct node *n, const char *name, const void *value, size_t size,
		   int flags, fuse_req_t req);
int attr_remove_xattr(struct hashfs *fs, struct node *n, const char *name, fuse_req_t req);

// Takes set-gid off a file, as setting an ACL does for a caller who is not in the file's group
// (posix_acl_update_mode(), fs/posix_acl.c).
int attr_drop_set_gid(struct hashfs *fs, struct node *n);

// getxattr(2), listxattr(2): how many bytes there are; -ERANGE if @size, unless 0, is too small. Ours are
// hidden, and trusted ones from who is not @root.
int64_t attr_get_xattr(struct hashfs *fs, struct node *n, const char *name, void *buf, size_t size);
int64_t attr_list_xattr(struct hashfs *fs, struct node *n, bool root, char *buf, size_t size);

// FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR.
int attr_set_flags(struct hashfs *fs, struct node *n, unsigned flags, fuse_req_t req);
int attr_set_fsxattr(struct hashfs *fs, struct node *n, const struct fsxattr *attr, fuse_req_t req);
