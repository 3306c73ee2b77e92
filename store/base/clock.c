#include "store/base/clock.h"

#define SECOND INT64_C(1000000000)

static int64_t nanoseconds(struct timespec t)
{
	return t.tv_sec * SECOND + t.tv_nsec;
}

int64_t clock_ns(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return nanoseconds(t);
}

int64_t clock_latest(struct timespec stamp)
{
	return nanoseconds(stamp) + (stamp.tv_nsec == 0 ? SECOND - 1 : 0);
}

// The clock is the one that files are stamped by.
bool clock_is_over(struct timespec stamp)
{
	return clock_latest(stamp) < clock_ns(CLOCK_REALTIME_COARSE) - CLOCK_MARGIN;
}
