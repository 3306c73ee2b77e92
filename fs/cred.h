// Act as the caller: files are created with its ids and umask, so that the backing filesystem itself gets
// setgid directories, default ACLs and quotas right. The kernel has checked the caller's rights before we are
// asked (default_permissions), so we keep our own capabilities meanwhile (cred_init).
#pragma once

struct fuse_ctx;
struct hashfs;

// Once, before any thread is started: lets this process change its file-system ids without losing
// capabilities. Returns 0 or -errno.
int cred_init(void);

// From here to cred_leave() this thread creates files as @caller does. Nothing is done where we are not
// privileged, but for the umask.
void cred_enter(const struct hashfs *fs, const struct fuse_ctx *caller);
void cred_leave(const struct hashfs *fs);
