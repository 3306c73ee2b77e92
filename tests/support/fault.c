#include "tests/support/fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

enum fault_kind { NONE, FAIL, BEFORE, AFTER };

static struct fault {
	enum fault_kind kind;
	const char *call;
	unsigned left;  // calls up to and with the one that is meant
	int error;
	void (*run)(void *arg);
	void *arg;
} pending;

static bool met;

const char *const fault_calls[] = {
	"linkat",   "renameat2", "renameat",        "unlinkat",  "mkdirat",   "openat", "fstatat",
	"fstat",    "fcntl",     "ioctl",           "flock",     "pread",     "pwrite", "lseek",
	"setxattr", "getxattr",  "removexattr",     "listxattr", "ftruncate", "fchown", "fchmod",
	"fsync",    "futimens",  "copy_file_range", NULL,
};

static void set(struct fault f)
{
	pending = f;
	met = false;
}

void fault_next(const char *call, int error)
{
	fault_nth(call, 1, error);
}

void fault_nth(const char *call, unsigned nth, int error)
{
	set((struct fault){ .kind = FAIL, .call = call, .left = nth, .error = error });
}

void fault_before(const char *call, unsigned nth, void (*run)(void *arg), void *arg)
{
	set((struct fault){ .kind = BEFORE, .call = call, .left = nth, .run = run, .arg = arg });
}

void fault_after(const char *call, unsigned nth, void (*run)(void *arg), void *arg)
{
	set((struct fault){ .kind = AFTER, .call = call, .left = nth, .run = run, .arg = arg });
}

int fault_was_met(void)
{
	bool r = met;

	set((struct fault){ 0 });
	return r;
}

// Takes the fault off if it is one for this call of @call, so that what it runs may call the same.
static struct fault take(const char *call)
{
	if (pending.kind == NONE || strcmp(call, pending.call) != 0 || --pending.left > 0)
		return (struct fault){ 0 };
	struct fault f = pending;
	pending.kind = NONE;
	met = true;
	if (f.kind == BEFORE)
		f.run(f.arg);
	if (f.kind == FAIL)
		errno = f.error;
	return f;
}

static void leave(const struct fault *f)
{
	int e = errno;

	if (f->kind == AFTER)
		f->run(f->arg);
	errno = e;
}

#define STAND_IN(type, function, call, parameters, arguments)                                                \
	type function parameters                                                                             \
	{                                                                                                    \
		struct fault f = take(call);                                                                 \
		if (f.kind == FAIL)                                                                          \
			return -1;                                                                           \
		type r = ((type(*) parameters)dlsym(RTLD_NEXT, #function))arguments;                         \
		leave(&f);                                                                                   \
		return r;                                                                                    \
	}

STAND_IN(int, linkat, "linkat", (int from_dir, const char *from, int dir, const char *name, int flags),
	 (from_dir, from, dir, name, flags))
STAND_IN(int, renameat2, "renameat2",
	 (int from_dir, const char *from, int dir, const char *name, unsigned flags),
	 (from_dir, from, dir, name, flags))
STAND_IN(int, unlinkat, "unlinkat", (int dir, const char *name, int flags), (dir, name, flags))
STAND_IN(int, mkdirat, "mkdirat", (int dir, const char *name, mode_t mode), (dir, name, mode))
STAND_IN(int, renameat, "renameat", (int from_dir, const char *from, int dir, const char *name),
	 (from_dir, from, dir, name))
STAND_IN(int, fstatat, "fstatat", (int dir, const char *name, struct stat *ret, int flags),
	 (dir, name, ret, flags))
STAND_IN(int, fstat, "fstat", (int fd, struct stat *ret), (fd, ret))
STAND_IN(int, setxattr, "setxattr",
	 (const char *path, const char *name, const void *value, size_t size, int flags),
	 (path, name, value, size, flags))
STAND_IN(int, fsetxattr, "setxattr", (int fd, const char *name, const void *value, size_t size, int flags),
	 (fd, name, value, size, flags))
STAND_IN(ssize_t, fgetxattr, "getxattr", (int fd, const char *name, void *value, size_t size),
	 (fd, name, value, size))
STAND_IN(ssize_t, flistxattr, "listxattr", (int fd, char *list, size_t size), (fd, list, size))
STAND_IN(int, fremovexattr, "removexattr", (int fd, const char *name), (fd, name))
STAND_IN(ssize_t, copy_file_range, "copy_file_range",
	 (int in, off_t *in_at, int out, off_t *out_at, size_t size, unsigned flags),
	 (in, in_at, out, out_at, size, flags))
STAND_IN(ssize_t, pwrite, "pwrite", (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
STAND_IN(ssize_t, pread, "pread", (int fd, void *data, size_t size, off_t at), (fd, data, size, at))
STAND_IN(off_t, lseek, "lseek", (int fd, off_t at, int whence), (fd, at, whence))
STAND_IN(int, ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
STAND_IN(int, fchown, "fchown", (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
STAND_IN(int, fchmod, "fchmod", (int fd, mode_t mode), (fd, mode))
STAND_IN(int, fsync, "fsync", (int fd), (fd))
STAND_IN(int, futimens, "futimens", (int fd, const struct timespec times[2]), (fd, times))
STAND_IN(int, flock, "flock", (int fd, int operation), (fd, operation))

// These take one more argument; without it we hand on what the kernel does not look at.
#define STAND_IN_VARIADIC(function, call, parameters, last, type, arguments)                                 \
	int function parameters                                                                              \
	{                                                                                                    \
		va_list list;                                                                                \
		va_start(list, last);                                                                        \
		type more = va_arg(list, type);                                                              \
		va_end(list);                                                                                \
		struct fault f = take(call);                                                                 \
		if (f.kind == FAIL)                                                                          \
			return -1;                                                                           \
		int r = ((int(*) parameters)dlsym(RTLD_NEXT, #function))arguments;                           \
		leave(&f);                                                                                   \
		return r;                                                                                    \
	}

STAND_IN_VARIADIC(openat, "openat", (int dir, const char *path, int flags, ...), flags, mode_t,
		  (dir, path, flags, more))
STAND_IN_VARIADIC(fcntl, "fcntl", (int fd, int command, ...), command, void *, (fd, command, more))
STAND_IN_VARIADIC(ioctl, "ioctl", (int fd, unsigned long request, ...), request, void *, (fd, request, more))
