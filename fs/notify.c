#include "fs/notify.h"

#include "fs/fuse.h"
#include "fs/hashfs.h"
#include "fs/node.h"

void notify_attributes(struct hashfs *fs, struct node *n)
{
	// -ENOENT, the kernel has no such inode any more, is as good as done.
	fuse_lowlevel_notify_inval_inode(fs->session, node_id(fs, n), -1, 0);
}
