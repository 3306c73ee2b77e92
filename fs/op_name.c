#include <errno.h>

#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/ops.h"

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct hashfs *fs = fs_of(req);
	struct fuse_entry_param entry = { 0 };

	int r = node_lookup(fs, node_of(fs, parent), name, &entry);
	if (r == -ENOENT) {
		entry.entry_timeout =
			fs->timeout;  // with nodeid 0: the kernel remembers that there is nothing
		r = 0;
	}
	if (r < 0)
		reply_err(req, r);
	else if (fuse_reply_entry(req, &entry) < 0 && entry.ino)
		node_put(fs, node_of(fs, entry.ino), 1);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct hashfs *fs = fs_of(req);

	node_put(fs, node_of(fs, ino), count);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct hashfs *fs = fs_of(req);

	for (size_t i = 0; i < count; i++)
		node_put(fs, node_of(fs, forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}
