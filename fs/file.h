// An open file of a node in mode IO_CACHED: without passthrough the daemon reads and writes for the kernel's
// page cache. In passthrough nothing is kept for an open file but a count in its node.
#pragma once

#include "store/base/list.h"

struct file {
	struct list item;  // in node.files, under node_lock()
	int fd;  // owned; a break gives the number another file (dup3), so that all opens of a node stay one
		 // file
};
