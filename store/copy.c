#include "store/copy.h"

#include <errno.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/content.h"
#include "store/meta.h"
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
	// On btrfs a rename can be logged without the extents of the clone.
	bool in_order = how == CONTENT_CLONED && !(s->is_btrfs && size > 0);
	if (!in_order && flush && fdatasync(copy) < 0)
		return -errno;
	return take_fd(&copy);
}
