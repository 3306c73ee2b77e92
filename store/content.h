// The bytes of files: compare two, copy one.
#pragma once

#include <stdint.h>
#include <sys/types.h>

// 1 if both files hold the same first @size bytes, 0 if they differ or one is shorter. Reads, never maps: a
// file truncated meanwhile must not kill us. @buffer_a and @buffer_b have CONTENT_BUFFER_SIZE bytes each.
#define CONTENT_BUFFER_SIZE (128 * 1024)
int content_equal(int a, int b, uint64_t size, void *buffer_a, void *buffer_b);

// How content_copy() did it: XFS journals a clone in order with a rename, a copy nobody does.
enum content_copied { CONTENT_CLONED, CONTENT_COPIED };

// Copies the first @size bytes of @src to @dst, an empty file, by FICLONE where the whole is wanted and the
// filesystem can, else by copy_file_range, else by reading and writing; holes stay holes, the size is exact.
// Returns enum content_copied, or -ENOSPC, -EDQUOT, -EIO…
int content_copy(int src, int dst, uint64_t size, uint64_t src_size);

// Who is asked before each piece of CONTENT_BUFFER_SIZE bytes at most, and may end the whole with an error.
struct content_watch {
	int (*look)(void *arg);
	void *arg;
};

// The same of the whole of a file, by reading and writing alone: the two share no block. Returns 0, or also
// what @watch has returned; -ESTALE: @src has not @size bytes.
int content_copy_apart(int src, int dst, uint64_t size, const struct content_watch *watch);
