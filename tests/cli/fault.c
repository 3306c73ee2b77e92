// Preloaded, it makes system calls of a program fail, of which these variables of the environment tell:
// FAULT_CALL, its name; FAULT_ERROR, the number; FAULT_AT, what the path in question must contain, that of
// the first fd with the name that goes with it, for renameat2 the new one; FAULT_EVERY, 1: each, 2: each
// second. With FAULT_RUN none fails, but just before the first a command is run, with the fd's path in
// FAULT_FILE.
#include "tests/cli/stand_in.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

static bool is_at(int fd, const char *name, const char *part)
{
	char link[40], path[8192];

	if (!part || !*part)
		return true;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t size = readlink(link, path, sizeof(path) / 2);
	size_t end = size > 0 ? (size_t)size : 0;
	snprintf(path + end, sizeof(path) - end, "/%s", name ? name : "");
	return strstr(path, part) != NULL;
}

static void run_once(const char *command, int fd)
{
	static atomic_flag done = ATOMIC_FLAG_INIT;
	char link[40], path[4096] = "";

	if (atomic_flag_test_and_set(&done))
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) < 0 || setenv("FAULT_FILE", path, 1) < 0 ||
	    system(command) != 0)
		abort();
}

static bool fails(const char *call, int fd, const char *name)
{
	static atomic_uint met;
	const char *meant = getenv("FAULT_CALL");
	const char *every = getenv("FAULT_EVERY");
	int before = errno;

	if (!meant || strcmp(call, meant) != 0 || !is_at(fd, name, getenv("FAULT_AT")))
		return errno = before, false;
	if (every && (atomic_fetch_add(&met, 1) + 1) % (unsigned)atoi(every) != 0)
		return errno = before, false;
	if (getenv("FAULT_RUN")) {
		run_once(getenv("FAULT_RUN"), fd);
		return errno = before, false;
	}
	errno = atoi(getenv("FAULT_ERROR"));
	return true;
}

#define STAND_IN(type, function, parameters, arguments, fd, name)                                            \
	type function parameters;                                                                            \
	type function parameters                                                                             \
	{                                                                                                    \
		if (fails(#function, fd, name))                                                              \
			return -1;                                                                           \
		return ((type(*) parameters)dlsym(RTLD_NEXT, #function))arguments;                           \
	}

STAND_IN(ssize_t, pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at), fd, NULL)
STAND_IN(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), fd, NULL)
STAND_IN(ssize_t, getdents64, (int fd, void *data, size_t size), (fd, data, size), fd, NULL)
STAND_IN(int, fdatasync, (int fd), (fd), fd, NULL)
STAND_IN(int, fsync, (int fd), (fd), fd, NULL)
STAND_IN(int, syncfs, (int fd), (fd), fd, NULL)
STAND_IN(int, sync_file_range, (int fd, off_t at, off_t size, unsigned flags), (fd, at, size, flags), fd,
	 NULL)
STAND_IN(int, futimens, (int fd, const struct timespec times[2]), (fd, times), fd, NULL)
STAND_IN(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags),
	 (fd, name, value, size, flags), fd, NULL)
STAND_IN(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t size), (fd, name, value, size),
	 fd, NULL)
STAND_IN(ssize_t, flistxattr, (int fd, char *list, size_t size), (fd, list, size), fd, NULL)
STAND_IN(int, fstat, (int fd, struct stat *ret), (fd, ret), fd, NULL)
STAND_IN(int, fstatat, (int dir, const char *name, struct stat *ret, int flags), (dir, name, ret, flags), dir,
	 name)
STAND_IN(int, statx, (int dir, const char *name, int flags, unsigned mask, struct statx *ret),
	 (dir, name, flags, mask, ret), dir, name)
STAND_IN(int, mkdirat, (int dir, const char *name, mode_t mode), (dir, name, mode), dir, name)
STAND_IN(int, unlinkat, (int dir, const char *name, int flags), (dir, name, flags), dir, name)
STAND_IN(int, linkat, (int from_dir, const char *from, int dir, const char *name, int flags),
	 (from_dir, from, dir, name, flags), from_dir, from)
STAND_IN(int, renameat2, (int from_dir, const char *from, int dir, const char *name, unsigned flags),
	 (from_dir, from, dir, name, flags), dir, name)

// What reads without waiting meets the same bad sectors.
ssize_t preadv2(int fd, const struct iovec *data, int count, off_t at, int flags)
{
	if (fails("pread", fd, NULL))
		return -1;
	return ((ssize_t(*)(int, const struct iovec *, int, off_t, int))dlsym(RTLD_NEXT, "preadv2"))(
		fd, data, count, at, flags);
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list list;
	va_start(list, flags);
	mode_t mode = va_arg(list, mode_t);
	va_end(list);
	if (fails("openat", dir, path))
		return -1;
	return ((int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat"))(dir, path, flags, mode);
}

// Leases alone.
int fcntl(int fd, int command, ...)
{
	va_list list;
	va_start(list, command);
	void *more = va_arg(list, void *);
	va_end(list);
	if (command == F_SETLEASE && fails("lease", fd, NULL))
		return -1;
	return ((int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl"))(fd, command, more);
}

static long call(long number, const long a[SYSCALL_ARGUMENTS])
{
	if (number == SYS_openat2 && fails("openat2", (int)a[0], (const char *)a[1]))
		return -1;
	return next_syscall(number, a);
}

STAND_IN_FOR_SYSCALL(call)
