// Does the disk have what is in memory? After an error of writing back a file's pages stay in memory as if
// they had been written, the error is told once (fsync(2)), and what is read is not what is left when they
// have gone.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRECT_ALIGN 4096

// What they say is not the same, by an errno that no filesystem gives.
#define DIRECT_DIFFERS EREMOTEIO

// Compares @size bytes at @at, a multiple of DIRECT_ALIGN, of @fd, by way of the page cache, with what the
// disk has (O_DIRECT). Both buffers have room for @size rounded up to DIRECT_ALIGN, and begin at such
// addresses. 0: they are the same, or the filesystem does not tell; -DIRECT_DIFFERS; -ESTALE: it is shorter;
// or the disk's error.
int direct_compare(int fd, uint64_t at, size_t size, char *memory, char *disk);
