#include "store/copy.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/content.h"
#include "store/meta.h"
#include "store/object.h"
#include "store/store.h"
#include "store/tmp.h"

// What of a file is copied, and how.
struct copy_request {
	uint64_t keep;                      // bytes from its begin
	bool flush;                         // copy.h
	bool apart;                         // the two share nothing
	const struct content_watch *watch;  // then
};

// Guests write there, too: a hundredth of the filesystem stays free, besides what all such copies take.
static bool has_room(const struct store *s, int fd)
{
	struct statvfs fs;
	if (fstatvfs(fd, &fs) < 0 || fs.f_blocks == 0)
		return true;
	uint64_t free = (uint64_t)fs.f_bavail * fs.f_frsize;
	return free >= s->copying + (uint64_t)fs.f_blocks / 100 * fs.f_frsize;
}

static int copy_apart(struct store *s, int from, const struct stat *st, const struct content_watch *watch,
		      int to)
{
	uint64_t takes = (uint64_t)st->st_blocks * 512;

	s->copying += takes;
	int r = has_room(s, to) ? content_copy_apart(from, to, (uint64_t)st->st_size, watch) : -ENOSPC;
	s->copying -= takes;
	return r < 0 ? r : CONTENT_COPIED;
}

static int copy_content(struct store *s, int from, const struct stat *st, const struct copy_request *want,
			int to)
{
	uint64_t whole = (uint64_t)st->st_size;
	uint64_t size = want->keep < whole ? want->keep : whole;

	if (size == 0)
		return CONTENT_CLONED;
	return want->apart && !s->is_btrfs ? copy_apart(s, from, st, want->watch, to)
					   : content_copy(from, to, size, whole);
}

static int make_copy(struct store *s, int from, const struct copy_request *want, struct stat *ret)
{
	if (fstat(from, ret) < 0)
		return -errno;
	auto_close int copy = tmp_open(s);
	if (copy < 0)
		return copy;

	meta_prepare(from, copy);
	int how = copy_content(s, from, ret, want, copy);
	if (how < 0)
		return how;
	int r = meta_copy(from, ret, copy);
	if (r < 0)
		return r;
	if (how != CONTENT_CLONED && want->flush && !s->is_btrfs && fdatasync(copy) < 0)
		return -errno;
	return take_fd(&copy);
}

int copy_private(struct store *s, int object, uint64_t keep, bool flush, struct stat *ret)
{
	return make_copy(s, object, &(struct copy_request){ .keep = keep, .flush = flush }, ret);
}

int copy_for_object(struct store *s, int fd, const struct content_watch *watch, struct stat *ret)
{
	const struct copy_request want = { .keep = UINT64_MAX, .flush = true, .apart = true, .watch = watch };
	return make_copy(s, fd, &want, ret);
}

// On btrfs a rename can be logged without the extents of the clone; and before Linux 6.16 nothing is logged
// of an inode without a name (btrfs_log_inode_parent(), fs/btrfs/tree-log.c).
int copy_flush_named(const struct store *s, int copy)
{
	struct stat st;

	if (!s->is_btrfs)
		return 0;
	if (fstat(copy, &st) < 0)
		return -errno;
	return st.st_size > 0 && fdatasync(copy) < 0 ? -errno : 0;
}

static int adopt_named(struct store *s, int copy, struct object_key *key)
{
	struct stat st;

	int r = copy_flush_named(s, copy);
	if (r < 0)
		return r;
	if (fstat(copy, &st) < 0)
		return -errno;
	while ((r = object_adopt(s, copy, &st, key)) == -EEXIST)
		key->variant++;
	return r;
}

int copy_adopt(struct store *s, int copy, struct object_key *key)
{
	char name[TMP_NAME_SIZE];

	int r = tmp_link(s, copy, name);
	if (r < 0)
		return r;
	r = adopt_named(s, copy, key);
	int removed = tmp_remove(s, name);
	return r < 0 ? r : removed;
}
