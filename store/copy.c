#include "store/copy.h"

#include <errno.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/content.h"
#include "store/meta.h"
#include "store/object.h"
#include "store/store.h"
#include "store/tmp.h"

// @apart: the two share nothing.
static int copy_content(const struct store *s, int from, const struct stat *st, uint64_t keep, bool apart,
			int to)
{
	uint64_t whole = (uint64_t)st->st_size;
	uint64_t size = keep < whole ? keep : whole;

	if (size == 0)
		return CONTENT_CLONED;
	if (!apart || s->is_btrfs)
		return content_copy(from, to, size, whole);
	int r = content_copy_apart(from, to, size);
	return r < 0 ? r : CONTENT_COPIED;
}

static int make_copy(struct store *s, int from, uint64_t keep, bool apart, bool flush, struct stat *ret)
{
	if (fstat(from, ret) < 0)
		return -errno;
	auto_close int copy = tmp_open(s);
	if (copy < 0)
		return copy;

	meta_prepare(from, copy);
	int how = copy_content(s, from, ret, keep, apart, copy);
	if (how < 0)
		return how;
	int r = meta_copy(from, ret, copy);
	if (r < 0)
		return r;
	if (how != CONTENT_CLONED && flush && !s->is_btrfs && fdatasync(copy) < 0)
		return -errno;
	return take_fd(&copy);
}

int copy_private(struct store *s, int object, uint64_t keep, bool flush, struct stat *ret)
{
	return make_copy(s, object, keep, false, flush, ret);
}

int copy_for_object(struct store *s, int fd, bool flush, struct stat *ret)
{
	return make_copy(s, fd, UINT64_MAX, true, flush, ret);
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

static int adopt_named(struct store *s, int copy, bool flush, struct object_key *key)
{
	struct stat st;

	int r = flush ? copy_flush_named(s, copy) : 0;
	if (r < 0)
		return r;
	if (fstat(copy, &st) < 0)
		return -errno;
	while ((r = object_adopt(s, copy, &st, key)) == -EEXIST)
		key->variant++;
	return r;
}

int copy_adopt(struct store *s, int copy, bool flush, struct object_key *key)
{
	char name[TMP_NAME_SIZE];

	int r = tmp_link(s, copy, name);
	if (r < 0)
		return r;
	r = adopt_named(s, copy, flush, key);
	int removed = tmp_remove(s, name);
	return r < 0 ? r : removed;
}
