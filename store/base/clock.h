// What the timestamps of files say about when they were set.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

int64_t clock_ns(clockid_t id);

// The latest moment, in nanoseconds since 1970, of which @stamp may speak: where a filesystem keeps whole
// seconds, it is the end of that one.
int64_t clock_latest(struct timespec stamp);

// Will a file that changes from now on get a later timestamp than this one? The kernel takes them from a
// clock that lags by up to a tick (10 ms at most), hence the margin.
#define CLOCK_MARGIN (100 * INT64_C(1000000))
bool clock_is_over(struct timespec stamp);
