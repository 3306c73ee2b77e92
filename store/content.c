#include "store/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/sys.h"

static size_t piece(uint64_t left)
{
	return left < CONTENT_BUFFER_SIZE ? (size_t)left : CONTENT_BUFFER_SIZE;
}

int content_equal(int a, int b, uint64_t size, void *buffer_a, void *buffer_b)
{
	for (uint64_t at = 0; at < size;) {
		size_t want = piece(size - at);
		ssize_t got_a = fd_pread_all(a, buffer_a, want, at);
		ssize_t got_b = got_a < 0 ? got_a : fd_pread_all(b, buffer_b, want, at);

		if (got_b < 0)
			return (int)got_b;
		if ((size_t)got_a != want || (size_t)got_b != want || memcmp(buffer_a, buffer_b, want) != 0)
			return 0;
		at += want;
	}
	return 1;
}

// What a filesystem answers that cannot clone, or not these two files.
static bool cannot_clone(int r)
{
	return r == -EOPNOTSUPP || r == -EXDEV || r == -EINVAL || r == -ENOTTY || r == -ENOSYS || r == -EPERM;
}

static int copy_by_reading(int src, int dst, uint64_t at, uint64_t end, const struct content_watch *watch)
{
	auto_free char *buf = malloc(CONTENT_BUFFER_SIZE);
	if (!buf)
		return -ENOMEM;

	while (at < end) {
		int r = watch ? watch->look(watch->arg) : 0;
		if (r < 0)
			return r;
		ssize_t got = fd_pread_all(src, buf, piece(end - at), at);
		if (got <= 0)
			return got < 0 ? (int)got : -EIO;  // shorter than it says
		r = fd_pwrite_all(dst, buf, (size_t)got, at);
		if (r < 0)
			return r;
		at += (uint64_t)got;
	}
	return 0;
}

static int copy_extent(int src, int dst, uint64_t at, uint64_t end, const struct content_watch *watch)
{
	while (at < end) {
		off_t from = (off_t)at, to = (off_t)at;
		ssize_t copied = copy_file_range(src, &from, dst, &to, end - at, 0);
		if (copied < 0 && (cannot_clone(-errno) || errno == EBADF))
			return copy_by_reading(src, dst, at, end, watch);
		if (copied < 0 && errno != EINTR)
			return -errno;
		if (copied == 0)
			return -EIO;
		if (copied > 0)
			at += (uint64_t)copied;
	}
	return 0;
}

// Finds the next extent of data in [@at, @end). 0: there is none.
static int next_extent(int fd, uint64_t at, uint64_t end, uint64_t *ret_from, uint64_t *ret_to)
{
	off_t from = lseek(fd, (off_t)at, SEEK_DATA);
	if (from < 0 && errno == ENXIO)
		return 0;
	off_t to = from < 0 ? -1 : lseek(fd, from, SEEK_HOLE);
	if (to < 0) {
		if (errno != EINVAL && errno != EOPNOTSUPP)
			return -errno;
		from = (off_t)at;  // cannot tell holes: all is data
		to = (off_t)end;
	}
	*ret_from = (uint64_t)from;
	*ret_to = (uint64_t)to < end ? (uint64_t)to : end;
	return *ret_from < end;
}

typedef int copy_extent_fn(int src, int dst, uint64_t at, uint64_t end, const struct content_watch *watch);

static int copy_extents(int src, int dst, uint64_t size, copy_extent_fn *copy,
			const struct content_watch *watch)
{
	uint64_t from = 0, to = 0;
	int r;

	while ((r = next_extent(src, to, size, &from, &to)) > 0) {
		r = copy(src, dst, from, to, watch);
		if (r < 0)
			return r;
	}
	return r;
}

int content_copy(int src, int dst, uint64_t size, uint64_t src_size)
{
	int how = CONTENT_CLONED;
	uint64_t common = size < src_size ? size : src_size;

	if (common > 0) {
		int r = sys_clone(dst, src);
		if (r < 0 && !cannot_clone(r))
			return r;
		if (r < 0) {
			how = CONTENT_COPIED;
			r = copy_extents(src, dst, common, copy_extent, NULL);
		}
		if (r < 0)
			return r;
	}
	// XFS gives the last block of a clone room of its own even where the size stays.
	struct stat st;
	if (fstat(dst, &st) < 0)
		return -errno;
	return st.st_size == (off_t)size || ftruncate(dst, (off_t)size) == 0 ? how : -errno;
}

int content_copy_apart(int src, int dst, uint64_t size, const struct content_watch *watch)
{
	// First: XFS sets room aside behind what makes a file longer.
	if (ftruncate(dst, (off_t)size) < 0)
		return -errno;
	int r = copy_extents(src, dst, size, copy_by_reading, watch);
	struct stat st;
	bool is_shorter = fstat(src, &st) == 0 && (uint64_t)st.st_size < size;
	return is_shorter && (r == 0 || r == -EIO) ? -ESTALE : r;
}
