// Lingering for the next request: it ends as soon as there is one, is short without one, and costs next to
// nothing where none comes for long.
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/linger.h"
#include "store/base/clock.h"

#define MS (1000 * INT64_C(1000))

struct device {
	int ends[2];
	struct linger linger;
};

static int setup(void **state)
{
	struct device *d = calloc(1, sizeof(*d));

	*state = d;
	return d ? pipe2(d->ends, O_CLOEXEC) : -1;
}

static int teardown(void **state)
{
	struct device *d = *state;

	close(d->ends[0]);
	close(d->ends[1]);
	free(d);
	return 0;
}

static void put_request(struct device *d)
{
	assert_int_equal(write(d->ends[1], "", 1), 1);
}

static void take_request(struct device *d)
{
	char c;

	assert_int_equal(read(d->ends[0], &c, 1), 1);
}

// CPU time, so that nothing else on the machine matters.
static int64_t cpu_of(struct linger *l, int calls)
{
	int64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	for (int i = 0; i < calls; i++)
		linger(l);
	return clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
}

static void a_request_ends_it(void **state)
{
	struct device *d = *state;

	linger_init(&d->linger, d->ends[0]);
	put_request(d);
	// 1000 calls that waited to the end would take 50 ms.
	assert_true(cpu_of(&d->linger, 1000) < 25 * MS);
	assert_int_equal(d->linger.misses, 0);
}

static void where_none_comes_it_gives_up(void **state)
{
	struct device *d = *state;

	linger_init(&d->linger, d->ends[0]);
	// Waiting each time would take 1 s.
	assert_true(cpu_of(&d->linger, 20000) < 250 * MS);
}

static void it_tries_again_after_a_while(void **state)
{
	struct device *d = *state;

	linger_init(&d->linger, d->ends[0]);
	if (d->linger.device < 0)
		return;  // with one CPU it never waits
	cpu_of(&d->linger, 20000);
	put_request(d);
	cpu_of(&d->linger, 512);
	assert_int_equal(d->linger.misses, 0);

	take_request(d);
	linger(&d->linger);
	assert_int_equal(d->linger.misses, 1);
}

static void with_one_cpu_it_does_nothing(void **state)
{
	struct device *d = *state;
	cpu_set_t all, one;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	linger_init(&d->linger, d->ends[0]);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	cpu_of(&d->linger, 1000);
	assert_int_equal(d->linger.misses, 0);
}

static void without_a_device_it_does_nothing(void **state)
{
	struct device *d = *state;

	linger_init(&d->linger, -1);
	cpu_of(&d->linger, 1000);
	assert_int_equal(d->linger.misses, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_request_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(where_none_comes_it_gives_up, setup, teardown),
		cmocka_unit_test_setup_teardown(it_tries_again_after_a_while, setup, teardown),
		cmocka_unit_test_setup_teardown(with_one_cpu_it_does_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_device_it_does_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
