// An open file of a node in mode IO_CACHED: without passthrough the daemon reads and writes for the kernel's
// page cache. In passthrough nothing is kept for an open file but a count in its node.
#pragma once

#include <stdint.h>

#include "fs/fuse.h"
#include "store/base/list.h"

struct file {
	struct list item;  // in node.files, under node_lock()
	int fd;  // owned; a break gives the number another file (dup3), so that all opens of a node stay one
		 // file
};

// That of an open file; NULL: it is in passthrough.
static inline struct file *file_of(const struct fuse_file_info *fi)
{
	return (struct file *)(uintptr_t)fi->fh;
}
