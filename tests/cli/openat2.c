// For valgrind before 3.25, which knows no openat2(2): preloaded, it makes openat(2) of it. Good enough for
// trees of a test's own.
#include "tests/cli/stand_in.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

static long call(long number, const long a[SYSCALL_ARGUMENTS])
{
	if (number != SYS_openat2)
		return next_syscall(number, a);
	const struct open_how *how = (const struct open_how *)a[2];
	return openat((int)a[0], (const char *)a[1], (int)how->flags | O_NOFOLLOW, (mode_t)how->mode);
}

STAND_IN_FOR_SYSCALL(call)
