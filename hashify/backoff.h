// Makes way for others: decides from the kernel's pressure figures (PSI) when the workers of a pass pause.
//
// The figures count who waits for the disk or for memory, and that is mostly us: a pass that reads as fast as
// the disk can makes pressure on an idle machine, too. What others suffer shows only while we do nothing. So,
// when there is pressure at all, the workers now and then stop together between two files for some hundredths
// of a second. If there is no pressure then, it was ours, and the next look comes later and later. If there
// is, twice in a row, we run only a part of the time, half of it and less each time, and look in each of the
// pauses that this makes; more again when there is none. Never less than an eighth: those who suffer may do
// so for ever and for another reason, and a pass must end.
//
// A state machine without clock, threads or files; the caller has the lock.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_KINDS 2  // the disk, memory

// Time in ns that somebody has waited for each, since the machine was booted.
struct backoff_pressure {
	uint64_t total[BACKOFF_KINDS];
};

#define BACKOFF_FULL 8  // the whole time

struct backoff {
	unsigned workers;  // that take part
	unsigned waiting;  // that do nothing now
	bool pausing;
	bool measuring;     // all have paused since @since
	bool suspected;     // others suffered when we last looked
	unsigned share;     // eighths of the time that we run
	uint64_t interval;  // ns between two looks while all is well
	uint64_t run_since;
	uint64_t until;  // while running: when to look; while pausing: when to go on
	uint64_t since;  // what was the pressure then:
	struct backoff_pressure pressure;
};

// Starts, running, at @now (ns of any clock).
void backoff_init(struct backoff *b, uint64_t now, const struct backoff_pressure *pressure);

// Is there anything to decide at @now? If so, find the pressure and call backoff_step().
bool backoff_due(const struct backoff *b, uint64_t now);

// Decides; afterwards @b->pausing says whether workers are to wait.
void backoff_step(struct backoff *b, uint64_t now, const struct backoff_pressure *pressure);
