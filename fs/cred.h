// Act as the caller: files are created with its ids and umask, so that the backing filesystem itself gets
// setgid directories, default ACLs and quotas right. The kernel has checked the caller's rights before we are
// asked (default_permissions), so we keep our own capabilities meanwhile (cred_init).
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fs/fuse.h"

struct hashfs;

// Once, before any thread is started: lets this process change its file-system ids without losing
// capabilities, and makes them hashfs.uid and .gid. Returns 0 or -errno.
int cred_init(const struct hashfs *fs);

// From here to cred_leave() this thread creates files as @caller does. Nothing is done where we are not
// privileged, but for the umask.
void cred_enter(const struct hashfs *fs, const struct fuse_ctx *caller);
void cred_leave(const struct hashfs *fs, const struct fuse_ctx *caller);

// Is the caller of @req in the group @gid? Reads /proc: for what is rare. False also if nobody can tell.
bool cred_in_group(fuse_req_t req, gid_t gid);

// Does set-gid stay on a file with the status @st when the caller of @req changes its mode or ACL? (The
// kernel's in_group_or_capable().) Reads /proc: for what is rare.
bool cred_keeps_set_gid(fuse_req_t req, const struct stat *st);

// Has the caller of @req the file with the number @ino on the filesystem @dev, as he sees them, open for
// writing? Reads /proc: for what is rare. False also if nobody can tell.
bool cred_writes_to(fuse_req_t req, dev_t dev, uint64_t ino);

// May the caller of @req, who is not @uid, act as the owner of @uid's files all the same, as root of a
// container may? Reads /proc: for what is rare. False also if nobody can tell.
bool cred_overrides(fuse_req_t req, uid_t uid);
