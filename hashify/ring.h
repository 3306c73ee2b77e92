// Reads of many files by one system call (io_uring): the kernel makes one request to the disk of those that
// are next to each other there (blk_start_plug() in the kernel's io_uring/io_uring.c).
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct ring;

struct ring_read {
	int fd;
	void *buffer;
	size_t size;
	ssize_t got;  // bytes, or -errno: of ring_read()
};

// A ring for up to @depth reads at once. NULL: there is no io_uring here, or we may not use it.
struct ring *ring_new(unsigned depth);
void ring_free(struct ring *r);

// Does @count reads from the begin of files, as preadv2(2) with RWF_NOWAIT does one, in this order: takes
// what the page cache has, and has the disk begin with the rest. -errno: the kernel did not do all of them,
// it is not known which, and this ring must not be used again.
int ring_read(struct ring *r, struct ring_read *reads, unsigned count);
