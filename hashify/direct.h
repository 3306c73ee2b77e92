// Reads of what the disk has, past the page cache (O_DIRECT). After an error of writing back a file's pages
// stay in memory as if they had been written, the error is told once (fsync(2)), and what is read is not what
// is left when they have gone.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DIRECT_ALIGN 4096

// Reads @size bytes at @at, a multiple of DIRECT_ALIGN, of @fd, which nobody else reads meanwhile. @buffer
// begins at such an address, and has room for @size rounded up to one. Returns how many bytes there are, less
// than @size only at the end of the file. -EOPNOTSUPP: there is no way past the page cache.
ssize_t direct_read(int fd, void *buffer, size_t size, uint64_t at);
