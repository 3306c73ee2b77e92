// System calls that the C library lacks, one thin function each, and what the running kernel can do.
// They return what the call returns, or a negative errno.
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

// openat2(2) with @resolve, a set of the SYS_RESOLVE_ flags.
#define SYS_RESOLVE_NO_XDEV 0x01
#define SYS_RESOLVE_NO_MAGICLINKS 0x02
#define SYS_RESOLVE_NO_SYMLINKS 0x04
#define SYS_RESOLVE_BENEATH 0x08
int sys_openat2(int dir, const char *path, int flags, mode_t mode, uint64_t resolve);

// Clones the mount of @path into a detached mount of its own that shows no mount below it, and returns its
// root as an O_PATH fd; the mount lives as long as an fd into it. -EPERM: needs CAP_SYS_ADMIN.
int sys_open_tree_clone(int dir, const char *path);

// Makes the mount of @fd, a detached clone, read-only and noatime (mount_setattr(2), Linux 5.12).
int sys_mount_readonly_noatime(int fd);

// Makes it noatime (mount_setattr(2), Linux 5.12).
int sys_mount_noatime(int fd);

// fork(2) into a new user namespace (clone3(2), Linux 5.3). After fork(2) the child could not leave for one
// where the thread sanitizer has started a thread in it. What the C library caches of a thread is the
// parent's in the child: no raise(3).
pid_t sys_fork_in_user_namespace(void);

// Gives the mount of @fd, a detached clone, the ids of @user_namespace (mount_setattr(2), Linux 5.12).
int sys_mount_idmap(int fd, int user_namespace);

// Pages of @fd that are in the page cache now (cachestat(2), Linux 6.5; falls back to mincore(2)).
int64_t sys_cached_pages(int fd, uint64_t size);

// Pages of @fd that are not on the disk yet, or are on their way (cachestat(2)). 0 also where no filesystem
// writes them; -ENOSYS, -EPERM: it cannot be told.
int64_t sys_unwritten_pages(int fd, uint64_t size);

// The UUID of the filesystem of @fd in hexadecimal (FS_IOC_GETFSUUID, Linux 6.9); "": it cannot be told.
void sys_fs_uuid(int fd, char ret[33]);

// Which pages of @size bytes at @offset, a multiple of the page's size, are in the page cache now: fills one
// byte a page of @ret, 1 or 0 (mincore(2)). A file that is neither ours nor writable seems to be there as a
// whole.
int sys_resident(int fd, uint64_t offset, size_t size, unsigned char *ret);

// Shares the blocks of @src with @dst (FICLONE). -EOPNOTSUPP, -EXDEV, -EINVAL: the filesystem can't.
int sys_clone(int dst, int src);

// The same for @size bytes, or what there is of them, at these offsets (FICLONERANGE). Returns how many.
ssize_t sys_clone_range(int dst, uint64_t dst_at, int src, uint64_t src_at, size_t size);

// Does @fd share blocks with another file, or may it (FS_IOC_FIEMAP)?
bool sys_shares_blocks(int fd);

// Is it read past the page cache, from memory that keeps its content (DAX)?
bool sys_is_dax(int fd);

// The number of btrfs' running transaction, or of the last one. -ENOTTY: this is none.
int sys_btrfs_generation(int fd, uint64_t *ret);

// FS_IOC_GETFLAGS and FS_IOC_SETFLAGS. -ENOTTY, -EOPNOTSUPP: the filesystem has none.
int sys_flags_get(int fd, unsigned *ret);
int sys_flags_set(int fd, unsigned flags);

// FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR: the same flags under other names, and the project of its quota.
struct fsxattr;
int sys_fsxattr_get(int fd, struct fsxattr *ret);
int sys_fsxattr_set(int fd, const struct fsxattr *attr);

// Sets the mode of @fd, which may be O_PATH (fchmodat2(2), Linux 6.6, else through /proc).
int sys_fchmod(int fd, mode_t mode);

// Sets the times of @fd, which may be O_PATH, as utimensat(2) does (Linux 5.8, else through /proc).
int sys_utimens(int fd, const struct timespec times[2]);

// Takes CAP_SYS_RESOURCE from this process, before it starts threads: quotas hold for it then.
int sys_drop_cap_resource(void);

// Makes @fd's file neither immutable nor append-only. @ret_flags gets the flags it had, for sys_flags_set().
// -EPERM: it was neither.
int sys_thaw(int fd, unsigned *ret_flags);

// The capabilities with which anybody is a file's owner, as CapEff in /proc/PID/status has them.
uint64_t sys_caps_of_owner(void);

// And that with which set-gid stays, whoever changes what.
uint64_t sys_cap_of_set_gid(void);

// Is the running kernel Linux @major.@minor or later? Where what it can do cannot be asked.
bool sys_kernel_is(unsigned major, unsigned minor);

// The file-system ids and groups of this thread alone.
void sys_setfsid(uid_t uid, gid_t gid);
uid_t sys_fsuid(void);
