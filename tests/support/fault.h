// Make system calls fail, or meet a test's own code just before or after one: for those functions of the C
// library that fault.c stands in front of. An xattr call's name stands for the one that takes an fd, too. One
// thread at a time.
#pragma once

// The next call of @call returns -1 with @error.
void fault_next(const char *call, int error);

// The same for the @nth next call, from 1.
void fault_nth(const char *call, unsigned nth, int error);

// Runs @run(@arg) just before, or just after, the @nth next call of @call.
void fault_before(const char *call, unsigned nth, void (*run)(void *arg), void *arg);
void fault_after(const char *call, unsigned nth, void (*run)(void *arg), void *arg);

// Was it met? And none is pending afterwards.
int fault_was_met(void);

// Those there are, ended by NULL.
extern const char *const fault_calls[];
