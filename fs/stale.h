// Threads that were answered ESTALE. The kernel walks the path of such a call once more, by LOOKUP, and
// repeats the request; a second ESTALE would reach the program. The second request of a thread comes from a
// descriptor or a bind mount of the file, which no look-up can help, or its name was retired a second time
// meanwhile.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

// More threads at once than these may be told a second time.
#define STALE_THREADS 32

struct stale {
	pthread_mutex_t lock;  // guards all below
	struct {
		pid_t tid;
		uint64_t ino;  // which file it asked for: the number that the guest sees
		time_t until;  // a retry follows at once; seconds of CLOCK_MONOTONIC; 0: over
	} told[STALE_THREADS];
	unsigned next;
};

// What the kernel calls each thread that our pid namespace does not have.
#define STALE_ANYBODY 0

void stale_init(struct stale *s);
void stale_destroy(struct stale *s);

// Must the thread @tid be told to look the name of @ino up again? Not if it was told so just now: each ESTALE
// is good for one retry.
bool stale_tell(struct stale *s, pid_t tid, uint64_t ino);

// A request of @tid has succeeded: whatever it was told is over.
void stale_settled(struct stale *s, pid_t tid);
