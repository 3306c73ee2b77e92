#include "hashify/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static ssize_t read_aligned(int fd, char *buffer, size_t size, uint64_t at)
{
	size_t whole = (size + DIRECT_ALIGN - 1) / DIRECT_ALIGN * DIRECT_ALIGN, done = 0;

	while (done < size) {
		ssize_t got = pread(fd, buffer + done, whole - done, (off_t)(at + done));
		if (got < 0)
			return errno == EINVAL ? -EOPNOTSUPP : -errno;
		done += (size_t)got;
		if (got % DIRECT_ALIGN != 0 || got == 0)  // the end
			break;
	}
	return (ssize_t)(done < size ? done : size);
}

ssize_t direct_read(int fd, void *buffer, size_t size, uint64_t at)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
		return -EOPNOTSUPP;
	ssize_t got = read_aligned(fd, buffer, size, at);
	fcntl(fd, F_SETFL, flags);
	return got;
}
