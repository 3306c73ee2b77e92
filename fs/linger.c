#include "fs/linger.h"

#include <poll.h>
#include <sched.h>

#include "store/base/clock.h"

#define LONGEST (50 * INT64_C(1000))
#define MOST_MISSES 8  // after which one call in 256 tries it again

void linger_init(struct linger *l, int device)
{
	cpu_set_t cpus;
	bool have_another_cpu = sched_getaffinity(0, sizeof(cpus), &cpus) < 0 || CPU_COUNT(&cpus) > 1;

	l->device = have_another_cpu ? device : -1;
	atomic_flag_clear(&l->taken);
	l->misses = 0;
	l->skipped = 0;
}

static bool request_comes(int device)
{
	struct pollfd p = { .fd = device, .events = POLLIN };
	int64_t end = clock_ns(CLOCK_MONOTONIC) + LONGEST;

	do {
		if (poll(&p, 1, 0) != 0)
			return true;
		sched_yield();  // if a request comes while another runs here, it finds another thread of ours
	} while (clock_ns(CLOCK_MONOTONIC) < end);
	return false;
}

void linger(struct linger *l)
{
	if (l->device < 0 || atomic_flag_test_and_set_explicit(&l->taken, memory_order_acquire))
		return;
	if (++l->skipped >> l->misses) {
		l->skipped = 0;
		if (request_comes(l->device))
			l->misses = 0;
		else if (l->misses < MOST_MISSES)
			l->misses++;
	}
	atomic_flag_clear_explicit(&l->taken, memory_order_release);
}
