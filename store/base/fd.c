#include "store/base/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/sys.h"

void fd_close(int fd)
{
	// After EINTR or EIO the fd is closed all the same on Linux.
	if (close(fd) < 0 && errno == EBADF)
		abort();
}

// A guest's lease is an EAGAIN, too, with O_NONBLOCK, until the kernel takes it away (45 s).
#define TRIES 100

int beneath_open(int dir, const char *path, int flags, mode_t mode)
{
	uint64_t resolve = SYS_RESOLVE_BENEATH | SYS_RESOLVE_NO_XDEV | SYS_RESOLVE_NO_MAGICLINKS |
			   SYS_RESOLVE_NO_SYMLINKS;
	int fd = -EAGAIN;

	// EAGAIN: a rename somewhere made the kernel unsure whether it has left @dir.
	for (int i = 0; i < TRIES && fd == -EAGAIN; i++)
		fd = sys_openat2(dir, path, flags, mode, resolve);
	return fd;
}

// Opens what @fd, an O_PATH one, has open.
static int open_to_read(int fd)
{
	const int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC;
	struct fd_path path = fd_path(fd);

	int r = openat(AT_FDCWD, path.text, flags | O_NOATIME);
	if (r < 0 && errno == EPERM)
		r = openat(AT_FDCWD, path.text, flags);
	return r < 0 ? -errno : r;
}

// Opening a device may be enough to set it off: a watchdog restarts the machine. So what has the name is
// looked at first, and that is what is opened, whatever has the name by then.
int beneath_open_file(int dir, const char *path)
{
	struct stat st;
	auto_close int fd = beneath_open(dir, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISLNK(st.st_mode) ? -ELOOP : -ENXIO;
	return open_to_read(fd);
}

ssize_t fd_pread_all(int fd, void *buf, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t r = pread(fd, (char *)buf + done, size - done, (off_t)(offset + done));
		if (r == 0)
			break;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			done += (size_t)r;
	}
	return (ssize_t)done;
}

int fd_pwrite_all(int fd, const void *buf, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t r = pwrite(fd, (const char *)buf + done, size - done, (off_t)(offset + done));
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			done += (size_t)r;
	}
	return 0;
}

struct fd_path fd_path(int fd)
{
	struct fd_path p;

	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}

// By the fd alone that takes a right: who has it not gets ENOENT.
int fd_link(int fd, int dir, const char *path)
{
	if (linkat(fd, "", dir, path, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	return linkat(AT_FDCWD, fd_path(fd).text, dir, path, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}
