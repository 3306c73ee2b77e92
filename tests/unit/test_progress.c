#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hashify/progress.h"
#include "store/base/log.h"
#include "store/base/thread.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// What is printed to stderr while it is caught.
struct caught {
	int saved, read_end;
	char text[8192];
	size_t used;
};

static void catch_stderr(struct caught *c)
{
	int ends[2];
	*c = (struct caught){ .saved = dup(STDERR_FILENO) };
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	c->read_end = ends[0];
}

// When there is no room, the older half is forgotten.
static void make_room(struct caught *c)
{
	const size_t half = sizeof(c->text) / 2;
	if (c->used < sizeof(c->text) - 1)
		return;
	memmove(c->text, c->text + half, c->used - half);
	c->used -= half;
}

static ssize_t read_more(struct caught *c)
{
	make_room(c);
	ssize_t r = read(c->read_end, c->text + c->used, sizeof(c->text) - 1 - c->used);
	assert_true(r >= 0);
	c->used += (size_t)r;
	c->text[c->used] = '\0';
	return r;
}

// Reads until @wanted is there.
static void expect_said(struct caught *c, const char *wanted)
{
	struct pollfd p = { .fd = c->read_end, .events = POLLIN };
	while (!strstr(c->text, wanted)) {
		assert_int_equal(poll(&p, 1, 20000), 1);
		read_more(c);
	}
}

static void release_stderr(struct caught *c)
{
	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	while (read_more(c) > 0) {
	}
	close(c->read_end);
}

static struct progress *start(enum progress_when when, unsigned interval)
{
	struct progress *p = NULL;
	const struct progress_options o = { .when = when, .interval = interval };
	assert_int_equal(progress_start(&o, &p), 0);
	return p;
}

static void sigusr1_asks_for_a_line_in_any_phase(void **state)
{
	(void)state;
	struct caught c;
	catch_stderr(&c);
	struct progress *p = start(PROGRESS_NO, 0);

	kill(getpid(), SIGUSR1);
	expect_said(&c, "hashify: reading the store for 0:0");
	progress_phase(p, PROGRESS_WALK);
	progress_seen(p, 0, 5);
	progress_seen(p, 1000, 6);
	progress_guest(p, 3, "web1");
	kill(getpid(), SIGUSR1);
	expect_said(&c, ", 11 names, at web1\n");
	progress_phase(p, PROGRESS_READ);
	progress_total(p, 4, 4096);
	progress_add(p, 0, 1, 1024, 4096);
	progress_add(p, 1, 1, 1024, -2048);
	kill(getpid(), SIGUSR1);
	expect_said(&c, "reading: 50 %, 2.0 KiB of 4.0 KiB, 2 of 4 files, ");
	expect_said(&c, "left, 2.0 KiB freed\n");
	progress_phase(p, PROGRESS_FLUSH);
	kill(getpid(), SIGUSR1);
	expect_said(&c, "flushing for 0:0");

	progress_stop(p);
	release_stderr(&c);
}

// Where each wait is to be that short, and how long the last was to be.
static _Atomic long hurry_ms;
static _Atomic long waited_s;

// Instead of the C library's.
int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *time)
{
	struct timespec given = *time;
	waited_s = given.tv_sec;
	if (hurry_ms > 0)
		given = (struct timespec){ 0, hurry_ms * 1000000 };
	long r = syscall(SYS_rt_sigtimedwait, set, info, &given, NSIG / 8);
	return (int)r;
}

static void a_long_pass_that_nobody_watches_says_a_line_each_minute(void **state)
{
	(void)state;
	struct caught c;
	hurry_ms = 10;
	catch_stderr(&c);
	struct progress *p = start(PROGRESS_AUTO, 0);
	expect_said(&c, "hashify: reading the store for 0:0");
	assert_int_equal(waited_s, 60);
	progress_phase(p, PROGRESS_WALK);
	expect_said(&c, "hashify: walking for 0:0");
	progress_stop(p);
	release_stderr(&c);
	hurry_ms = 0;
	assert_null(strchr(c.text, '\r'));
	assert_null(strchr(c.text, '\033'));
}

static void a_short_pass_that_nobody_watches_says_nothing(void **state)
{
	(void)state;
	struct caught c;
	catch_stderr(&c);
	struct progress *p = start(PROGRESS_AUTO, 0);
	progress_phase(p, PROGRESS_READ);
	poll(NULL, 0, 1500);  // there is no event to wait for: nothing must happen
	progress_stop(p);
	release_stderr(&c);
	assert_string_equal(c.text, "");
}

static void who_asks_gets_lines_where_no_terminal_is(void **state)
{
	(void)state;
	struct caught c;
	catch_stderr(&c);
	struct progress *p = start(PROGRESS_YES, 1);
	expect_said(&c, "hashify: reading the store for 0:01\n");
	progress_phase(p, PROGRESS_WALK);
	expect_said(&c, "hashify: walking for 0:0");
	progress_stop(p);
	release_stderr(&c);
	assert_null(strchr(c.text, '\r'));
	assert_null(strchr(c.text, '\033'));
}

static void sigusr1_before_and_after_ends_nothing(void **state)
{
	(void)state;
	struct caught c;
	kill(getpid(), SIGUSR1);
	catch_stderr(&c);
	struct progress *p = start(PROGRESS_NO, 0);
	expect_said(&c, "hashify: reading the store");
	progress_stop(p);
	release_stderr(&c);
	kill(getpid(), SIGUSR1);
}

static void without_progress_all_calls_do_nothing(void **state)
{
	(void)state;
	progress_phase(NULL, PROGRESS_READ);
	progress_total(NULL, 1, 1);
	progress_more(NULL, 1, 1);
	progress_seen(NULL, 0, 1);
	progress_add(NULL, 0, 1, 1, 1);
	progress_guest(NULL, 0, "web1");
	progress_stop(NULL);
}

#define COUNTERS 4
#define ROUNDS 100000

struct counting {
	struct progress *p;
	_Atomic unsigned next;
};

static void *count(void *arg)
{
	struct counting *c = arg;
	unsigned worker = c->next++;
	for (int i = 0; i < ROUNDS; i++) {
		progress_guest(c->p, worker, "web1");
		progress_add(c->p, worker, 1, 10, 4096);
		if (i % 1000 == 0)
			kill(getpid(), SIGUSR1);
	}
	return NULL;
}

// All workers at once, each line wanted, phases changing.
static void many_workers_add_up(void **state)
{
	(void)state;
	struct caught caught;
	char wanted[64];
	catch_stderr(&caught);
	struct counting c = { .p = start(PROGRESS_NO, 0) };
	pthread_t threads[COUNTERS];

	progress_total(c.p, 2 * COUNTERS * ROUNDS, 20 * COUNTERS * ROUNDS);
	for (int i = 0; i < COUNTERS; i++)
		assert_int_equal(thread_start(&threads[i], "count", count, &c), 0);
	for (int i = 0; i < COUNTERS; i++)
		thread_join(threads[i]);
	progress_phase(c.p, PROGRESS_READ);
	caught.used = 0;
	kill(getpid(), SIGUSR1);
	snprintf(wanted, sizeof(wanted), "reading: 50 %%, ");
	expect_said(&caught, wanted);
	snprintf(wanted, sizeof(wanted), "%d of %d files", COUNTERS * ROUNDS, 2 * COUNTERS * ROUNDS);
	expect_said(&caught, wanted);
	progress_stop(c.p);
	release_stderr(&caught);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sigusr1_asks_for_a_line_in_any_phase),
		cmocka_unit_test(a_long_pass_that_nobody_watches_says_a_line_each_minute),
		cmocka_unit_test(a_short_pass_that_nobody_watches_says_nothing),
		cmocka_unit_test(who_asks_gets_lines_where_no_terminal_is),
		cmocka_unit_test(sigusr1_before_and_after_ends_nothing),
		cmocka_unit_test(without_progress_all_calls_do_nothing),
		cmocka_unit_test(many_workers_add_up),
	};
	progress_signals();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
