#include "hashify/judge.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FROZEN (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)
#define HANDS_OFF (FROZEN | STATX_ATTR_ENCRYPTED | STATX_ATTR_VERITY)

// Holes are read like zeros. A guest can make files that take a day to read and no space, one large or many
// small ones; nothing would be saved by sharing them.
#define HOLES_SIZE ((uint64_t)1024 * 1024)
#define HOLES_SHARE 16

static bool is_all_holes(const struct statx *st)
{
	return st->stx_size > HOLES_SIZE && st->stx_blocks * 512 < st->stx_size / HOLES_SHARE;
}

// An attribute in user. needs write permission, also of who may give himself that.
static bool is_unmarkable(const struct statx *st)
{
	return (st->stx_mode & (S_IRUSR | S_IWUSR)) == S_IRUSR && geteuid() != 0 && st->stx_uid == geteuid();
}

bool judge_is_mount(dev_t dir_dev, const struct statx *st)
{
	return makedev(st->stx_dev_major, st->stx_dev_minor) != dir_dev ||
	       st->stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

bool judge_is_frozen(const struct statx *st)
{
	return st->stx_attributes & FROZEN;
}

enum reason judge(dev_t store_dev, uint64_t min_size, dev_t dir_dev, const struct statx *st)
{
	if (S_ISLNK(st->stx_mode))
		return REASON_SYMLINK;
	if (!S_ISREG(st->stx_mode))
		return REASON_SPECIAL;

	if (judge_is_mount(dir_dev, st))
		return REASON_MOUNT;
	if (dir_dev != store_dev)
		return REASON_SUBVOLUME;  // no mount was crossed, and yet it has its own inode numbers
	if (st->stx_size == 0)
		return REASON_EMPTY;
	if (st->stx_size < min_size)
		return REASON_SMALL;
	if (st->stx_nlink > 1)
		return REASON_HARD_LINKED;
	if (st->stx_attributes & HANDS_OFF)
		return REASON_FLAGS;
	if (is_unmarkable(st))
		return REASON_READ_ONLY;
	if (is_all_holes(st))
		return REASON_HOLES;
	return REASON_NONE;
}
