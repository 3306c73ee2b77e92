#include "store/base/sys.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <linux/capability.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/fd.h"

// Numbers that are the same on every architecture Linux has gained since 5.0, for headers older than the
// kernel.
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

int sys_openat2(int dir, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = resolve,
	};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

int sys_open_tree_clone(int dir, const char *path)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
	long fd = syscall(SYS_open_tree, dir, path, flags);
	return fd < 0 ? -errno : (int)fd;
}

static int set_noatime_and(int fd, uint64_t more)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NOATIME | more,
		.attr_clr = MOUNT_ATTR__ATIME,
	};
	return syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

int sys_mount_readonly_noatime(int fd)
{
	return set_noatime_and(fd, MOUNT_ATTR_RDONLY);
}

int sys_mount_noatime(int fd)
{
	return set_noatime_and(fd, 0);
}

pid_t sys_fork_in_user_namespace(void)
{
	struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };

	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	return pid < 0 ? -errno : pid;
}

int sys_mount_idmap(int fd, int user_namespace)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace };

	return syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

int sys_resident(int fd, uint64_t offset, size_t size, unsigned char *ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	void *map = mmap(NULL, size, PROT_NONE, MAP_SHARED, fd, (off_t)offset);
	if (map == MAP_FAILED)
		return -errno;
	int r = mincore(map, size, ret) < 0 ? -errno : 0;
	munmap(map, size);
	for (size_t i = 0; r == 0 && i < (size + page - 1) / page; i++)
		ret[i] &= 1;
	return r;
}

static int64_t mincore_pages(int fd, uint64_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t pages = (size + page - 1) / page;
	int64_t cached = 0;

	if (pages == 0)
		return 0;
	void *map = mmap(NULL, size, PROT_NONE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	auto_free unsigned char *resident = malloc(pages);
	int r = !resident ? -ENOMEM : mincore(map, size, resident) < 0 ? -errno : 0;
	munmap(map, size);
	if (r < 0)
		return r;
	for (size_t i = 0; i < pages; i++)
		cached += resident[i] & 1;
	return cached;
}

struct cachestat {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

static int cachestat(int fd, uint64_t size, struct cachestat *ret)
{
	struct {
		uint64_t off, len;
	} range = { 0, size };

	return syscall(SYS_cachestat, fd, &range, ret, 0) < 0 ? -errno : 0;
}

int64_t sys_cached_pages(int fd, uint64_t size)
{
	struct cachestat stat = { 0 };
	int r = cachestat(fd, size, &stat);

	if (r == -ENOSYS)
		return mincore_pages(fd, size);
	return r < 0 ? r : (int64_t)stat.cached;
}

int64_t sys_unwritten_pages(int fd, uint64_t size)
{
	struct cachestat stat = { 0 };
	int r = cachestat(fd, size, &stat);

	return r < 0 ? r : (int64_t)(stat.dirty + stat.writeback);
}

// As in headers since 6.9.
struct fs_uuid {
	uint8_t len;
	uint8_t uuid[16];
};
#define GET_FS_UUID _IOR(0x15, 0, struct fs_uuid)

void sys_fs_uuid(int fd, char ret[33])
{
	struct fs_uuid id = { 0 };

	ret[0] = '\0';
	if (ioctl(fd, GET_FS_UUID, &id) < 0)
		return;
	for (unsigned i = 0; i < id.len && i < sizeof(id.uuid); i++)
		snprintf(ret + 2 * i, 3, "%02x", id.uuid[i]);
}

int sys_clone(int dst, int src)
{
	return ioctl(dst, FICLONE, src) < 0 ? -errno : 0;
}

ssize_t sys_clone_range(int dst, uint64_t dst_at, int src, uint64_t src_at, size_t size)
{
	struct stat st;

	if (fstat(src, &st) < 0)
		return -errno;
	uint64_t left = src_at < (uint64_t)st.st_size ? (uint64_t)st.st_size - src_at : 0;
	const struct file_clone_range range = {
		.src_fd = src,
		.src_offset = src_at,
		.src_length = size < left ? size : left,
		.dest_offset = dst_at,
	};
	if (range.src_length == 0)  // to the ioctl that is all
		return 0;
	return ioctl(dst, FICLONERANGE, &range) < 0 ? -errno : (ssize_t)range.src_length;
}

int sys_btrfs_generation(int fd, uint64_t *ret)
{
	struct btrfs_ioctl_fs_info_args info = { .flags = BTRFS_FS_INFO_FLAG_GENERATION };

	if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0)
		return -errno;
	*ret = info.generation;
	return info.flags & BTRFS_FS_INFO_FLAG_GENERATION ? 0 : -ENOTTY;  // Linux 5.9
}

int sys_flags_get(int fd, unsigned *ret)
{
	return ioctl(fd, FS_IOC_GETFLAGS, ret) < 0 ? -errno : 0;
}

int sys_flags_set(int fd, unsigned flags)
{
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? -errno : 0;
}

int sys_thaw(int fd, unsigned *ret_flags)
{
	unsigned frozen = FS_IMMUTABLE_FL | FS_APPEND_FL;

	int r = sys_flags_get(fd, ret_flags);
	if (r < 0)
		return r;
	return *ret_flags & frozen ? sys_flags_set(fd, *ret_flags & ~frozen) : -EPERM;
}

int sys_fsxattr_get(int fd, struct fsxattr *ret)
{
	return ioctl(fd, FS_IOC_FSGETXATTR, ret) < 0 ? -errno : 0;
}

int sys_fsxattr_set(int fd, const struct fsxattr *attr)
{
	return ioctl(fd, FS_IOC_FSSETXATTR, attr) < 0 ? -errno : 0;
}

int sys_fchmod(int fd, mode_t mode)
{
	if (syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOSYS)
		return -errno;
	return chmod(fd_path(fd).text, mode) < 0 ? -errno : 0;
}

int sys_utimens(int fd, const struct timespec times[2])
{
	if (utimensat(fd, "", times, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	return utimensat(AT_FDCWD, fd_path(fd).text, times, 0) < 0 ? -errno : 0;
}

int sys_drop_cap_resource(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
	unsigned word = CAP_TO_INDEX(CAP_SYS_RESOURCE);
	uint32_t rest = ~CAP_TO_MASK(CAP_SYS_RESOURCE);

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	data[word].effective &= rest;
	data[word].permitted &= rest;
	data[word].inheritable &= rest;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

void sys_setfsid(uid_t uid, gid_t gid)
{
	// The C library's wrappers are per thread as well; these say so.
	syscall(SYS_setfsgid, gid);
	syscall(SYS_setfsuid, uid);
}

uint64_t sys_caps_of_owner(void)
{
	return UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_FOWNER;
}

uint64_t sys_cap_of_set_gid(void)
{
	return UINT64_C(1) << CAP_FSETID;
}

bool sys_kernel_is(unsigned major, unsigned minor)
{
	struct utsname u;
	unsigned has[2];

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &has[0], &has[1]) != 2)
		return false;
	return has[0] != major ? has[0] > major : has[1] >= minor;
}

uid_t sys_fsuid(void)
{
	return (uid_t)syscall(SYS_setfsuid, (uid_t)-1);  // refuses, and says what it is
}

#define FIEMAP_EXTENTS 32
#define FIEMAP_ROUNDS 4096  // of a file in so many pieces it is not worth to know

// From @*at on, which moves on. 1: yes; 0: not those so far; -ENODATA: none at all.
static int look_for_shared(int fd, uint64_t *at)
{
	_Alignas(struct fiemap) char
		buffer[sizeof(struct fiemap) + FIEMAP_EXTENTS * sizeof(struct fiemap_extent)] = { 0 };
	struct fiemap *map = (struct fiemap *)buffer;

	map->fm_start = *at;
	map->fm_length = FIEMAP_MAX_OFFSET - *at;
	map->fm_extent_count = FIEMAP_EXTENTS;
	if (ioctl(fd, FS_IOC_FIEMAP, map) < 0)
		return 1;
	for (unsigned i = 0; i < map->fm_mapped_extents; i++) {
		const struct fiemap_extent *e = &map->fm_extents[i];
		if (e->fe_flags & FIEMAP_EXTENT_SHARED)
			return 1;
		if (e->fe_flags & FIEMAP_EXTENT_LAST)
			return -ENODATA;
		*at = e->fe_logical + e->fe_length;
	}
	return map->fm_mapped_extents > 0 ? 0 : -ENODATA;
}

bool sys_shares_blocks(int fd)
{
	uint64_t at = 0;
	int r = 0;

	for (int i = 0; i < FIEMAP_ROUNDS && r == 0; i++)
		r = look_for_shared(fd, &at);
	return r >= 0;
}

bool sys_is_dax(int fd)
{
	struct statx st;
	return statx(fd, "", AT_EMPTY_PATH, 0, &st) < 0 || st.stx_attributes & STATX_ATTR_DAX;
}
