#include "store/base/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

#include "store/base/cleanup.h"

// readdir(3) would take memory and four more system calls for each directory.
#define BUFFER_SIZE 16384

bool dir_is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int dir_each(int parent, const char *name, int (*each)(int dir, const struct dirent64 *entry, void *arg),
	     void *arg)
{
	alignas(struct dirent64) char buffer[BUFFER_SIZE];
	auto_close int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	ssize_t size;
	while ((size = getdents64(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < size;) {
			const struct dirent64 *e = (const struct dirent64 *)(buffer + at);
			int r = dir_is_dots(e->d_name) ? 0 : each(fd, e, arg);
			if (r != 0)
				return r;
			at += e->d_reclen;
		}
	return size < 0 ? -errno : 0;
}
