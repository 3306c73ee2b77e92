// How fast something goes now, and how long the rest will take: from what was done in the last seconds, not
// in all. Pure; one thread at a time.
#pragma once

#include <stdint.h>

#define PROGRESS_SAMPLES 16

struct progress_sample {
	double time;  // seconds, of any clock that never goes back
	uint64_t files, bytes;
};

struct progress_rate {
	struct progress_sample samples[PROGRESS_SAMPLES];  // a ring
	unsigned count, next;
};

struct progress_speed {
	double rate;  // bytes a second; negative: not known
	double left;  // seconds; negative: not known
};

// Takes what is done by now, @now, of @total, and returns the speed. A ring that is all zero is an empty one.
struct progress_speed progress_rate_take(struct progress_rate *r, const struct progress_sample *now,
					 const struct progress_sample *total);
