#include "tests/support/fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *pending;
static int pending_error;
static int met;

void fault_next(const char *call, int error)
{
	pending = call;
	pending_error = error;
	met = 0;
}

int fault_was_met(void)
{
	int r = met;

	pending = NULL;
	met = 0;
	return r;
}

static int fails(const char *call)
{
	if (!pending || strcmp(call, pending) != 0)
		return 0;
	pending = NULL;
	met = 1;
	errno = pending_error;
	return 1;
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

int linkat(int from_dir, const char *from, int dir, const char *name, int flags)
{
	if (fails("linkat"))
		return -1;
	return REAL(int (*)(int, const char *, int, const char *, int), "linkat")(from_dir, from, dir, name,
										  flags);
}

int renameat2(int from_dir, const char *from, int dir, const char *name, unsigned flags)
{
	if (fails("renameat2"))
		return -1;
	return REAL(int (*)(int, const char *, int, const char *, unsigned), "renameat2")(from_dir, from, dir,
											  name, flags);
}

int unlinkat(int dir, const char *name, int flags)
{
	if (fails("unlinkat"))
		return -1;
	return REAL(int (*)(int, const char *, int), "unlinkat")(dir, name, flags);
}

int mkdirat(int dir, const char *name, mode_t mode)
{
	if (fails("mkdirat"))
		return -1;
	return REAL(int (*)(int, const char *, mode_t), "mkdirat")(dir, name, mode);
}

int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	if (fails("setxattr"))
		return -1;
	return REAL(int (*)(const char *, const char *, const void *, size_t, int),
		    "setxattr")(path, name, value, size, flags);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	if (fails("setxattr"))
		return -1;
	return REAL(int (*)(int, const char *, const void *, size_t, int), "fsetxattr")(fd, name, value, size,
											flags);
}

ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t size, unsigned flags)
{
	if (fails("copy_file_range"))
		return -1;
	return REAL(ssize_t(*)(int, off_t *, int, off_t *, size_t, unsigned),
		    "copy_file_range")(in, in_at, out, out_at, size, flags);
}

int ftruncate(int fd, off_t size)
{
	if (fails("ftruncate"))
		return -1;
	return REAL(int (*)(int, off_t), "ftruncate")(fd, size);
}

int fsync(int fd)
{
	if (fails("fsync"))
		return -1;
	return REAL(int (*)(int), "fsync")(fd);
}
