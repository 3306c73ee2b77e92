// Objects that have lost their marks get them again, where the store has changed.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/base/clock.h"
#include "store/digest.h"
#include "store/mark.h"
#include "store/marked.h"
#include "store/object.h"
#include "store/quarantine.h"
#include "tests/support/fault.h"
#include "tests/support/pool.h"

static bool has_mark(const struct pool *p, const char *path)
{
	struct stat st = status(p->tree, path);
	struct digest digest;
	int fd = open_read(p->tree, path);
	int r = mark_read(p->store->marks, fd, &st, &digest);

	close(fd);
	return r == 0;
}

static uint64_t renewed(const struct pool *p)
{
	uint64_t count;
	assert_int_equal(marked_renew_changed(p->store, &count), 0);
	return count;
}

// What has just changed is not noted.
static void wait_for_the_clock(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2 * CLOCK_MARGIN }, NULL);
}

static struct object_key given(const struct pool *p, const char *path, const char *content)
{
	put_old(p, path, content);
	return make_object(p, path);
}

// Content whose object is not in the directory of @key's.
static const char *elsewhere(const struct pool *p, const struct object_key *key)
{
	static const char one[] = "another content", other[] = "or this one";
	struct digest digest = digest_of(p->store->seed, one, strlen(one));
	return object_shard_of(digest) != object_shard_of(key->digest) ? one : other;
}

// As whoever restores a file does.
static void touch_shard(const struct pool *p, const struct object_key *key)
{
	char path[OBJECT_PATH_SIZE];
	object_path_print(key, path);
	assert_int_equal(renameat(p->store->dir, path, p->store->dir, "away"), 0);
	assert_int_equal(renameat(p->store->dir, "away", p->store->dir, path), 0);
}

static void a_mark_that_is_lost_comes_back_where_the_directory_has_changed(void **state)
{
	const struct pool *p = *state;
	struct object_key a = given(p, "a", "content");
	given(p, "b", elsewhere(p, &a));
	remove_mark(p, "a");
	remove_mark(p, "b");
	assert_int_equal(renewed(p), 2);
	assert_true(has_mark(p, "a") && has_mark(p, "b"));

	wait_for_the_clock();
	assert_int_equal(renewed(p), 0);
	remove_mark(p, "a");
	remove_mark(p, "b");
	touch_shard(p, &a);
	assert_int_equal(renewed(p), 1);
	assert_true(has_mark(p, "a"));
	assert_false(has_mark(p, "b"));  // nothing says so: this is what is documented
}

static void a_note_that_is_not_whole_or_is_gone_says_nothing(void **state)
{
	const struct pool *p = *state;
	given(p, "a", "content");
	wait_for_the_clock();
	assert_int_equal(renewed(p), 0);

	int fd = openat(p->store->dir, "marked", O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "x", 1, 77), 1);
	close(fd);
	remove_mark(p, "a");
	assert_int_equal(renewed(p), 1);

	assert_int_equal(unlinkat(p->store->dir, "marked", 0), 0);
	remove_mark(p, "a");
	assert_int_equal(renewed(p), 1);
}

static void what_cannot_be_marked_is_told_and_looked_at_again(void **state)
{
	const struct pool *p = *state;
	uint64_t count;
	given(p, "a", "content");
	given(p, "b", "another content");
	remove_mark(p, "a");
	remove_mark(p, "b");
	wait_for_the_clock();

	fault_next("setxattr", ENOSPC);
	assert_int_equal(marked_renew_changed(p->store, &count), -ENOSPC);
	assert_true(fault_was_met());
	assert_int_equal(count, 1);
	assert_int_equal(renewed(p), 1);
	assert_true(has_mark(p, "a") && has_mark(p, "b"));
}

static void what_waits_in_quarantine_is_looked_at_each_time(void **state)
{
	const struct pool *p = *state;
	struct object_key key = given(p, "a", "content");
	assert_int_equal(quarantine_add(p->store, &key), 0);
	wait_for_the_clock();
	assert_int_equal(renewed(p), 0);
	remove_mark(p, "a");
	assert_int_equal(renewed(p), 1);
	assert_true(has_mark(p, "a"));
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(a_mark_that_is_lost_comes_back_where_the_directory_has_changed),
		in_pool(a_note_that_is_not_whole_or_is_gone_says_nothing),
		in_pool(what_cannot_be_marked_is_told_and_looked_at_again),
		in_pool(what_waits_in_quarantine_is_looked_at_each_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
