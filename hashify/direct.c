#include "hashify/direct.h"

#include "store/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

// The flag is of the open file, which is ours alone. -EOPNOTSUPP: there is no way past the page cache.
static ssize_t read_past_cache(int fd, void *buffer, size_t size, uint64_t at)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
		return -EOPNOTSUPP;
	ssize_t got = pread(fd, buffer, size, (off_t)at);
	int err = got < 0 ? errno : 0;
	fcntl(fd, F_SETFL, flags);
	return err == EINVAL ? -EOPNOTSUPP : err ? -err : got;
}

int direct_compare(int fd, uint64_t at, size_t size, char *memory, char *disk)
{
	ssize_t got = fd_pread_all(fd, memory, size, at);
	if (got < 0)
		return (int)got;
	if ((size_t)got != size)
		return -ESTALE;
	size_t whole = (size + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN;
	got = read_past_cache(fd, disk, whole, at);
	if (got == -EOPNOTSUPP)
		return 0;
	if (got < 0)
		return (int)got;
	return (size_t)got >= size && memcmp(memory, disk, size) == 0 ? 0 : -DIRECT_DIFFERS;
}
