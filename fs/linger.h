// Waiting for the next request awake. Waking a sleeping thread takes longer than to serve an open, most of
// all where its CPU sleeps as well; and who opens a file to read it soon closes it, and often opens the next.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

struct linger {
	int device;  // /dev/fuse; not owned. -1: never linger
	atomic_flag taken;
	unsigned misses;  // in a row. This and the next belong to who has taken the flag
	unsigned skipped;
};

// Does not linger where there is one CPU, which the caller needs.
void linger_init(struct linger *l, int device);

// Waits, for 50 µs at most and one thread at a time, until @l's device has a request. The caller has just
// replied to one that others tend to follow, and is about to ask for the next. Where none came the last
// times, most calls do nothing.
void linger(struct linger *l);
