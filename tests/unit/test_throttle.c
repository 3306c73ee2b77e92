#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hashify/backoff.h"
#include "hashify/throttle.h"

#include <errno.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

// A machine with a clock that only waiting and reading move, one worker, and others who suffer.
struct world {
	uint64_t now;
	uint64_t slept;
	uint64_t ours, others;  // percent of the time that is waited: by us while we read; by others always
	uint64_t waited;        // ns
	uint64_t stop_at;
	bool no_pressure;
	unsigned looks;
};

static void pass_time(struct world *w, uint64_t ns, bool reading)
{
	uint64_t percent = reading && w->ours > w->others ? w->ours : w->others;
	w->now += ns;
	w->waited += ns / 100 * percent;
}

static uint64_t world_now(void *arg)
{
	return ((struct world *)arg)->now;
}

static void world_sleep(void *arg, uint64_t ns)
{
	struct world *w = arg;
	assert_true(ns > 0);
	w->slept += ns;
	pass_time(w, ns, false);
}

static int world_pressure(void *arg, struct backoff_pressure *ret)
{
	struct world *w = arg;
	w->looks++;
	if (w->no_pressure)
		return -ENOENT;
	*ret = (struct backoff_pressure){ { w->waited, 0 } };
	return 0;
}

static bool world_stopped(void *arg)
{
	struct world *w = arg;
	return w->stop_at > 0 && w->now >= w->stop_at;
}

static struct throttle *make(struct world *w, uint64_t limit, bool back_off)
{
	struct throttle *t = NULL;
	const struct throttle_world world = { world_now, world_sleep, world_pressure, world_stopped, w };
	const struct throttle_options o = { .limit = limit, .back_off = back_off, .world = &world };
	assert_int_equal(throttle_new(&o, &t), 0);
	throttle_join(t);
	return t;
}

// Reads files of 1 ms each for @time, and returns how much of it was slept.
static uint64_t read_for(struct throttle *t, struct world *w, uint64_t time)
{
	uint64_t till = w->now + time, slept = w->slept;
	while (w->now < till) {
		throttle_take(t, 1000, NULL, NULL);
		pass_time(w, MS, true);
	}
	return w->slept - slept;
}

static void never_more_than_the_limit_is_read(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND };
	struct throttle *t = make(&w, 100000, false);
	uint64_t begun = w.now, taken = 0;

	srandom(1);
	for (int i = 0; i < 20000; i++) {
		uint64_t bytes = (uint64_t)random() % (i % 50 == 0 ? 200000 : 500);
		throttle_take(t, bytes, NULL, NULL);
		taken += bytes;
		// A tenth of a second's worth may come at once.
		assert_true((double)taken <= 100000.0 * ((double)(w.now - begun) / SECOND + 0.1) + 1);
	}
	assert_true((double)taken >= 100000.0 * (double)(w.now - begun) / SECOND * 0.99);
	throttle_free(t);
}

static void what_was_not_used_is_soon_lost(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND };
	struct throttle *t = make(&w, 1000, false);
	pass_time(&w, 1000 * SECOND, false);
	throttle_take(t, 100, NULL, NULL);
	assert_int_equal(w.slept, 0);
	throttle_take(t, 100, NULL, NULL);
	assert_int_equal(w.slept, SECOND / 10);
	throttle_free(t);
}

static void what_was_not_read_is_given_back(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND };
	struct throttle *t = make(&w, 1000, false);
	throttle_take(t, 1100, NULL, NULL);
	assert_int_equal(w.slept, SECOND);
	throttle_return(t, 1000);
	throttle_take(t, 100, NULL, NULL);
	assert_int_equal(w.slept, SECOND);
	throttle_free(t);
}

static void a_signal_ends_any_wait(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND, .stop_at = 6 * SECOND };
	struct throttle *t = make(&w, 1, false);
	for (int i = 0; i < 10; i++)
		throttle_take(t, UINT64_MAX, NULL, NULL);
	assert_true(w.now < 6 * SECOND + 100 * MS);
	throttle_free(t);

	w = (struct world){ .now = 5 * SECOND, .others = 100, .stop_at = 60 * SECOND };
	t = make(&w, 0, true);
	while (w.now < w.stop_at) {
		throttle_take(t, 1, NULL, NULL);
		pass_time(&w, MS, true);
	}
	assert_true(w.now < 60 * SECOND + 100 * MS);
	throttle_free(t);
}

static void an_idle_machine_is_never_slowed(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND, .others = 5 };
	struct throttle *t = make(&w, 0, true);
	assert_int_equal(read_for(t, &w, 100 * SECOND), 0);
	assert_true(w.looks < 210);  // not more than each 500 ms
	throttle_free(t);
}

static void our_own_pressure_costs_little(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND, .ours = 100 };
	struct throttle *t = make(&w, 0, true);
	assert_int_equal(read_for(t, &w, 1900 * MS), 0);
	assert_true(read_for(t, &w, 10 * SECOND) <= 150 * MS);
	assert_true(read_for(t, &w, 100 * SECOND) <= SECOND);
	throttle_free(t);
}

static void we_make_way_for_others_but_not_for_ever(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND, .ours = 100, .others = 30 };
	struct throttle *t = make(&w, 0, true);
	read_for(t, &w, 10 * SECOND);
	uint64_t slept = read_for(t, &w, 100 * SECOND);
	assert_true(slept >= 85 * SECOND && slept <= 89 * SECOND);  // the floor is an eighth

	w.others = 0;
	read_for(t, &w, 5 * SECOND);
	assert_true(read_for(t, &w, 100 * SECOND) <= SECOND);

	w.others = 30;
	read_for(t, &w, 20 * SECOND);
	assert_true(read_for(t, &w, 100 * SECOND) >= 85 * SECOND);
	throttle_free(t);
}

static void a_moment_of_pressure_is_nothing(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND, .ours = 100 };
	struct throttle *t = make(&w, 0, true);
	uint64_t slept = 0;
	for (int i = 0; i < 100; i++) {  // somebody's commit: 50 ms each second
		w.others = 0;
		slept += read_for(t, &w, 950 * MS);
		w.others = 100;
		slept += read_for(t, &w, 50 * MS);
	}
	assert_true(slept <= 5 * SECOND);
	throttle_free(t);
}

static void without_figures_nothing_is_slowed(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND, .ours = 100, .others = 100, .no_pressure = true };
	struct throttle *t = make(&w, 0, true);
	assert_int_equal(read_for(t, &w, 100 * SECOND), 0);
	throttle_free(t);

	w = (struct world){ .now = 5 * SECOND, .others = 100 };
	t = make(&w, 0, true);
	w.no_pressure = true;  // lost on the way
	assert_int_equal(read_for(t, &w, 100 * SECOND), 0);
	throttle_free(t);
}

static void both_together_keep_the_limit(void **state)
{
	(void)state;
	struct world w = { .now = 5 * SECOND, .ours = 100, .others = 50 };
	struct throttle *t = make(&w, 500000, true);  // half of what we could
	uint64_t slept = read_for(t, &w, 100 * SECOND);
	assert_true(slept >= 50 * SECOND && slept <= 90 * SECOND);
	throttle_free(t);
}

static const struct backoff_pressure none;

static struct backoff_pressure pressure(uint64_t disk, uint64_t memory)
{
	return (struct backoff_pressure){ { disk, memory } };
}

static void nothing_is_measured_while_one_still_reads(void **state)
{
	(void)state;
	struct backoff b;
	backoff_init(&b, 0, &none);
	b.workers = 2;
	b.waiting = 1;
	const struct backoff_pressure disk = pressure(2 * SECOND, 0);
	assert_true(backoff_due(&b, 2 * SECOND));
	backoff_step(&b, 2 * SECOND, &disk);
	assert_true(b.pausing);
	assert_false(b.measuring);

	b.waiting = 2;  // now all the pressure is of others
	assert_true(backoff_due(&b, 2 * SECOND + 10 * MS));
	backoff_step(&b, 2 * SECOND + 10 * MS, &disk);
	assert_true(b.measuring);
	assert_false(backoff_due(&b, b.until - 1));
	backoff_step(&b, b.until, &disk);
	assert_false(b.pausing);
	assert_false(b.suspected);
}

static void who_reads_for_long_does_not_keep_others_waiting(void **state)
{
	(void)state;
	struct backoff b;
	backoff_init(&b, 0, &none);
	b.workers = 2;
	b.waiting = 1;
	const struct backoff_pressure disk = pressure(2 * SECOND, 0), later = pressure(3 * SECOND, 0);
	backoff_step(&b, 2 * SECOND, &disk);
	backoff_step(&b, 2 * SECOND + 100 * MS, &later);
	assert_false(b.pausing);
	assert_false(b.suspected);
}

static void memory_counts_like_the_disk(void **state)
{
	(void)state;
	struct backoff b;
	backoff_init(&b, 0, &none);
	b.workers = b.waiting = 1;
	uint64_t time = 0;
	for (int i = 0; i < 4; i++) {
		time = b.until;
		const struct backoff_pressure memory = pressure(0, time / 2);
		backoff_step(&b, time, &memory);
	}
	assert_int_equal(b.share, BACKOFF_FULL / 2);
}

static void the_real_machine_lets_us_through(void **state)
{
	(void)state;
	struct throttle *t = NULL;
	const struct throttle_options o = { .limit = UINT64_C(1) << 40, .back_off = true };
	assert_int_equal(throttle_new(&o, &t), 0);
	throttle_join(t);
	for (int i = 0; i < 1000; i++)
		throttle_take(t, 1000, NULL, NULL);
	throttle_leave(t);
	throttle_free(t);
}

static void without_a_throttle_all_calls_do_nothing(void **state)
{
	(void)state;
	throttle_join(NULL);
	throttle_take(NULL, UINT64_MAX, NULL, NULL);
	throttle_return(NULL, 1);
	throttle_leave(NULL);
	throttle_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_more_than_the_limit_is_read),
		cmocka_unit_test(what_was_not_used_is_soon_lost),
		cmocka_unit_test(what_was_not_read_is_given_back),
		cmocka_unit_test(a_signal_ends_any_wait),
		cmocka_unit_test(an_idle_machine_is_never_slowed),
		cmocka_unit_test(our_own_pressure_costs_little),
		cmocka_unit_test(we_make_way_for_others_but_not_for_ever),
		cmocka_unit_test(a_moment_of_pressure_is_nothing),
		cmocka_unit_test(without_figures_nothing_is_slowed),
		cmocka_unit_test(both_together_keep_the_limit),
		cmocka_unit_test(nothing_is_measured_while_one_still_reads),
		cmocka_unit_test(who_reads_for_long_does_not_keep_others_waiting),
		cmocka_unit_test(memory_counts_like_the_disk),
		cmocka_unit_test(the_real_machine_lets_us_through),
		cmocka_unit_test(without_a_throttle_all_calls_do_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
