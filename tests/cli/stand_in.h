// For libraries that are preloaded and stand in for syscall(2).
#pragma once

#include <dlfcn.h>
#include <stdarg.h>

#define SYSCALL_ARGUMENTS 6

// Defines syscall() as a call of @function(@number, its arguments).
#define STAND_IN_FOR_SYSCALL(function)                                                                       \
	long syscall(long number, ...)                                                                       \
	{                                                                                                    \
		va_list list;                                                                                \
		long a[SYSCALL_ARGUMENTS];                                                                   \
		va_start(list, number);                                                                      \
		for (int i = 0; i < SYSCALL_ARGUMENTS; i++)                                                  \
			a[i] = va_arg(list, long);                                                           \
		va_end(list);                                                                                \
		return function(number, a);                                                                  \
	}

// The real one.
static inline long next_syscall(long number, const long a[SYSCALL_ARGUMENTS])
{
	long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
