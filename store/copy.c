#include "store/copy.h"

#include <errno.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/content.h"
#include "store/meta.h"
#include "store/object.h"
#include "store/store.h"
#include "store/tmp.h"

int copy_private(struct store *s, int object, uint64_t keep, bool flush, struct stat *ret)
{
	if (fstat(object, ret) < 0)
		return -errno;
	auto_close int copy = tmp_open(s);
	if (copy < 0)
		return copy;

	meta_prepare(object, copy);
	uint64_t whole = (uint64_t)ret->st_size;
	uint64_t size = keep < whole ? keep : whole;
	int how = CONTENT_CLONED;
	if (size > 0) {
		how = content_copy(object, copy, size, whole);
		if (how < 0)
			return how;
	}
	int r = meta_copy(object, ret, copy);
	if (r < 0)
		return r;
	if (how != CONTENT_CLONED && flush && !s->is_btrfs && fdatasync(copy) < 0)
		return -errno;
	return take_fd(&copy);
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

static int adopt_named(struct store *s, int copy, const struct object_key *key, bool flush)
{
	struct stat st;

	int r = flush ? copy_flush_named(s, copy) : 0;
	if (r < 0)
		return r;
	if (fstat(copy, &st) < 0)
		return -errno;
	return object_adopt(s, copy, &st, key);
}

int copy_to_object(struct store *s, int fd, const struct object_key *key, bool flush)
{
	char name[TMP_NAME_SIZE];
	struct stat st;

	auto_close int copy = copy_private(s, fd, UINT64_MAX, flush, &st);
	if (copy < 0)
		return copy;
	int r = tmp_link(s, copy, name);
	if (r < 0)
		return r;
	r = adopt_named(s, copy, key, flush);
	int removed = tmp_remove(s, name);
	return r < 0 ? r : removed;
}
