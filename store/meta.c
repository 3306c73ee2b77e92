#include "store/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/sys.h"
#include "store/xattr.h"

// Flags a user gave the file, not those that say how the filesystem stores it. Immutable and append-only
// files never become objects.
#define USER_FLAGS ((uint32_t)(FS_XFLAG_NODUMP | FS_XFLAG_NOATIME | FS_XFLAG_SYNC))

// Those a filesystem takes only as long as a file is empty, or minds from then on: whether it is to be
// written in place (btrfs' +C), and to be compressed.
#define STORAGE_FLAGS ((unsigned)(FS_NOCOW_FL | FS_COMPR_FL | FS_NOCOMP_FL))

static int copy_owner(const struct stat *from, const struct stat *to, int dst)
{
	if (from->st_uid == to->st_uid && from->st_gid == to->st_gid)
		return 0;
	return fchown(dst, from->st_uid, from->st_gid) < 0 ? -errno : 0;
}

static int copy_xattrs(int src, int dst)
{
	struct xattr_set set;

	int r = xattr_read_all(src, &set);
	if (r == 0 && set.size > 0)
		r = xattr_write(dst, &set);
	xattr_free(&set);
	return r;
}

// The flags, and the project: a directory that hands its project down (`chattr +P`) takes no file of another
// one, rename(2) says EXDEV.
static int copy_flags(int src, int dst)
{
	struct fsxattr from, to;

	// A filesystem without flags has none to lose.
	if (sys_fsxattr_get(src, &from) < 0 || sys_fsxattr_get(dst, &to) < 0)
		return 0;
	uint32_t want = (to.fsx_xflags & ~USER_FLAGS) | (from.fsx_xflags & USER_FLAGS);
	if (want == to.fsx_xflags && from.fsx_projid == to.fsx_projid)
		return 0;
	to.fsx_xflags = want;
	to.fsx_projid = from.fsx_projid;
	int r = sys_fsxattr_set(dst, &to);
	// In a user namespace projects cannot be set. Where that matters the rename fails.
	return r == -EINVAL || r == -EPERM ? 0 : r;
}

int meta_join_project(int dst, int dir)
{
	struct fsxattr from, to;
	auto_close int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (sys_fsxattr_get(fd, &from) < 0 || sys_fsxattr_get(dst, &to) < 0)
		return -EXDEV;
	if (!(from.fsx_xflags & FS_XFLAG_PROJINHERIT) || to.fsx_projid == from.fsx_projid)
		return -EXDEV;
	to.fsx_projid = from.fsx_projid;
	return sys_fsxattr_set(dst, &to);
}

void meta_prepare(int src, int dst)
{
	unsigned from, to;

	if (sys_flags_get(src, &from) < 0 || sys_flags_get(dst, &to) < 0 ||
	    ((from ^ to) & STORAGE_FLAGS) == 0)
		return;
	sys_flags_set(dst, (to & ~STORAGE_FLAGS) | (from & STORAGE_FLAGS));
}

int meta_copy(int src, const struct stat *st, int dst)
{
	struct stat now;
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (fstat(dst, &now) < 0)
		return -errno;
	int r = copy_owner(st, &now, dst);
	if (r < 0)
		return r;
	r = copy_xattrs(src, dst);
	if (r < 0)
		return r;
	// An ACL is written before: setting one sets the mode's group bits.
	if (fchmod(dst, st->st_mode & 07777) < 0)
		return -errno;
	r = copy_flags(src, dst);
	if (r < 0)
		return r;
	return futimens(dst, times) < 0 ? -errno : 0;
}
