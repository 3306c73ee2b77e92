// What becomes of displaced files that wait.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/displaced.h"
#include "tests/support/fault.h"
#include "tests/support/twins.h"

static void write_late(int reader)
{
	twins_write_late(reader);
	close(reader);
}

static void what_cannot_be_put_back_is_tried_again(void **state)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	write_late(reader);
	fault_next("renameat2", EIO);
	assert_int_equal(twins_flush(&w), 0);
	assert_true(fault_was_met());
	assert_int_equal(twins_flush(&w), 1);

	assert_content(w.p->tree, "b/file", "HELLO");
	assert_content(w.p->tree, "a/file", "hello");
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

// Until the limit that is returned is set again.
static struct rlimit forbid_new_descriptors(void)
{
	struct rlimit was, now;
	int next = dup(0);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = (struct rlimit){ (rlim_t)next, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	close(next);
	return was;
}

static void what_cannot_be_put_back_keeps_its_journal(void **state)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");
	struct recovery recovery;

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	write_late(reader);
	const struct rlimit was = forbid_new_descriptors();
	int r = replacer_free(w.replacer);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(r, -EMFILE);
	twins_await_writers();
	close(w.object);

	assert_int_equal(replace_recover(w.p->store, &recovery), 0);
	assert_int_equal(recovery.put_back, 1);
	assert_content(w.p->tree, "b/file", "HELLO");
	assert_content(w.p->tree, "a/file", "hello");
}

static void replace_locked(struct pool *p, bool (*lock)(int fd))
{
	struct twins w = given_twins(p);
	int holder = open_read(w.p->tree, "b/file");

	assert_true(lock(holder));
	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	assert_int_equal(twins_flush(&w), 1);
	assert_false(twins_linked(&w, "b/file"));
	close(holder);
	twins_done(&w);
}

static bool lock_whole(int fd)
{
	return flock(fd, LOCK_SH) == 0;
}

static bool lock_range(int fd)
{
	struct flock part = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 1 };
	return fcntl(fd, F_OFD_SETLK, &part) == 0;
}

static void what_somebody_has_locked_is_put_back(void **state)
{
	replace_locked(*state, lock_whole);
}

static void and_what_has_a_locked_part(void **state)
{
	replace_locked(*state, lock_range);
}

static void what_waits_longer_than_it_must_is_dropped_meanwhile(void **state)
{
	struct twins w = given_twins(*state);

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	assert_int_equal(names_in_flight(w.p), 1);
	usleep(DISPLACED_GRACE_NSEC / 1000);
	replacer_tidy(w.replacer);
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(what_cannot_be_put_back_is_tried_again),
		in_pool(what_cannot_be_put_back_keeps_its_journal),
		in_pool(what_somebody_has_locked_is_put_back),
		in_pool(and_what_has_a_locked_part),
		in_pool(what_waits_longer_than_it_must_is_dropped_meanwhile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
