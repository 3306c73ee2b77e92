// The index is a cache: what it tells is what was put, and whatever is wrong with it, it is begun anew.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/index.h"
#include "tests/support/pool.h"

static struct index *open_index(const struct pool *p, unsigned ignored, enum index_state expected)
{
	struct index *x;
	enum index_state state;

	assert_int_equal(index_open(p->store, ignored, true, &x, &state), 0);
	assert_int_equal(state, expected);
	assert_non_null(x);
	return x;
}

static struct index_file file(uint64_t n)
{
	return (struct index_file){ n, n * 3, { UINT64_MAX - n, n << 60 }, n ^ UINT64_MAX };
}

static void put_files(const struct pool *p, uint64_t count)
{
	struct index *x = open_index(p, 0, INDEX_NEW);
	for (uint64_t n = count; n > 0; n--) {
		const struct index_file f = file(n);
		assert_int_equal(index_put(x, &f, 1), 0);
	}
	assert_int_equal(index_close(x), 0);
}

static int expect_next(const struct index_file *f, void *arg)
{
	uint64_t *n = arg;
	const struct index_file expected = file(++*n);
	assert_memory_equal(f, &expected, sizeof(expected));
	return 0;
}

static uint64_t count_files(struct index *x)
{
	uint64_t n = 0;
	assert_int_equal(index_each(x, expect_next, &n), 0);
	return n;
}

static void what_was_put_is_told_in_order(void **state)
{
	put_files(*state, 3000);
	struct index *x = open_index(*state, 0, INDEX_GOOD);
	assert_int_equal(count_files(x), 3000);
	const uint64_t last = 3000;
	assert_int_equal(index_remove(x, last), 0);
	assert_int_equal(count_files(x), 2999);
	assert_int_equal(index_close(x), 0);
	assert_int_equal(index_drop(((struct pool *)*state)->store), 0);
	x = open_index(*state, 0, INDEX_NEW);
	assert_int_equal(count_files(x), 0);
	assert_int_equal(index_close(x), 0);
}

static void an_inode_has_one_row(void **state)
{
	put_files(*state, 2);
	struct index *x = open_index(*state, 0, INDEX_GOOD);
	struct index_file f = file(2);
	f.stamp = 0;
	assert_int_equal(index_put(x, &f, 1), 0);
	f = file(2);
	assert_int_equal(index_put(x, &f, 1), 0);
	assert_int_equal(count_files(x), 2);
	assert_int_equal(index_close(x), 0);
}

static void another_set_of_ignored_fields_begins_anew(void **state)
{
	put_files(*state, 2);
	assert_int_equal(index_close(open_index(*state, 1, INDEX_FOREIGN)), 0);
	struct index *x = open_index(*state, 1, INDEX_GOOD);
	assert_int_equal(count_files(x), 0);
	assert_int_equal(index_close(x), 0);
}

static void a_copied_store_begins_anew(void **state)
{
	const struct pool *p = *state;
	put_files(p, 2);
	p->store->ino++;
	assert_int_equal(index_close(open_index(p, 0, INDEX_FOREIGN)), 0);
}

static int open_file(const struct pool *p, int flags)
{
	int fd = openat(p->store->dir, "index.sqlite", flags | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

// Whatever bytes the file has: either it is begun anew, or what it tells is read without harm.
static void expect_no_harm(const struct pool *p)
{
	struct index *x;
	enum index_state state;
	uint64_t n = 0;

	assert_int_equal(index_open(p->store, 0, true, &x, &state), 0);
	index_each(x, expect_next, &n);
	index_close(x);
	unlinkat(p->store->dir, "index.sqlite", 0);
}

static void a_truncated_one_does_no_harm(void **state)
{
	for (off_t size = 0; size < 60000; size += 1777) {
		put_files(*state, 3000);
		int fd = open_file(*state, O_WRONLY);
		assert_int_equal(ftruncate(fd, size), 0);
		close(fd);
		expect_no_harm(*state);
	}
}

static int ignore(const struct index_file *f, void *arg)
{
	(void)f, (void)arg;
	return 0;
}

static void flipped_bytes_do_no_harm(void **state)
{
	const struct pool *p = *state;
	srand(7);
	for (int i = 0; i < 60; i++) {
		struct index *x;
		enum index_state s;
		put_files(p, 300);
		int fd = open_file(p, O_RDWR);
		for (int k = 0; k < 20; k++) {
			const char byte = (char)rand();
			assert_int_equal(pwrite(fd, &byte, 1, rand() % lseek(fd, 0, SEEK_END)), 1);
		}
		close(fd);
		if (index_open(p->store, 0, true, &x, &s) == 0) {
			index_each(x, ignore, NULL);
			index_close(x);
		}
		unlinkat(p->store->dir, "index.sqlite", 0);
	}
}

static void rubbish_is_replaced(void **state)
{
	const struct pool *p = *state;
	int fd = open_file(p, O_WRONLY | O_CREAT);
	assert_int_equal(write(fd, "this is no database at all, but long enough", 43), 43);
	close(fd);
	assert_int_equal(index_close(open_index(p, 0, INDEX_CORRUPT)), 0);
	assert_int_equal(index_close(open_index(p, 0, INDEX_GOOD)), 0);
}

static void for_reading_nothing_is_made(void **state)
{
	const struct pool *p = *state;
	struct index *x;
	enum index_state s;

	assert_int_equal(index_open(p->store, 0, false, &x, &s), 0);
	assert_null(x);
	assert_int_equal(faccessat(p->store->dir, "index.sqlite", F_OK, 0), -1);
	put_files(p, 5);
	assert_int_equal(index_open(p->store, 0, false, &x, &s), 0);
	assert_int_equal(s, INDEX_GOOD);
	assert_int_equal(count_files(x), 5);
	assert_int_equal(index_close(x), 0);
	assert_int_equal(index_open(p->store, 2, false, &x, &s), 0);
	assert_null(x);
	assert_int_equal(s, INDEX_FOREIGN);
}

static void passes_are_recorded(void **state)
{
	struct index *x = open_index(*state, 0, INDEX_NEW);
	struct index_pass p = { .started = 1700000000,
				.seconds = 1.5,
				.guests = 3,
				.seen = 1000,
				.signal = 15 },
			  last;

	assert_int_equal(index_last_pass(x, &last), 0);
	for (int i = 0; i < 5000; i++) {
		p.linked = (uint64_t)i;
		assert_int_equal(index_add_pass(x, &p), 0);
	}
	assert_int_equal(index_last_pass(x, &last), 4096);
	assert_memory_equal(&last, &p, sizeof(p));
	assert_int_equal(index_close(x), 0);
}

static int sum_verified(const struct index_verified *v, void *arg)
{
	int64_t *sums = arg;
	sums[0] += (int64_t)v->ino;
	sums[1] += v->at;
	return 0;
}

static void expect_verified(struct index *x, int64_t inos, int64_t times)
{
	int64_t sums[2] = { 0 };
	assert_int_equal(index_each_verified(x, sum_verified, sums), 0);
	assert_int_equal(sums[0], inos);
	assert_int_equal(sums[1], times);
}

static void what_was_verified_is_told_whatever_passes_ignore(void **state)
{
	static const struct index_verified first = { 5, 70 }, later = { 5, 700 }, other = { 6, 8 };
	struct index *x = open_index(*state, 2, INDEX_NEW);
	assert_int_equal(index_close(x), 0);
	x = open_index(*state, INDEX_ANY, INDEX_GOOD);
	assert_int_equal(index_put_verified(x, &first), 0);
	assert_int_equal(index_put_verified(x, &other), 0);
	assert_int_equal(index_put_verified(x, &later), 0);
	assert_int_equal(index_close(x), 0);

	x = open_index(*state, 2, INDEX_GOOD);
	expect_verified(x, 11, 708);
	assert_int_equal(index_forget_verified(x), 0);
	expect_verified(x, 0, 0);
	assert_int_equal(index_close(x), 0);
}

static void one_made_for_any_ignores_nothing(void **state)
{
	assert_int_equal(index_close(open_index(*state, INDEX_ANY, INDEX_NEW)), 0);
	assert_int_equal(index_close(open_index(*state, 0, INDEX_GOOD)), 0);
}

static void a_stamp_tells_every_change(void **state)
{
	const struct timespec a = { 5, 6 }, b = { 5, 7 }, c = { 6, 6 };
	(void)state;
	uint64_t stamp = index_stamp(1, 10, a, a);
	assert_int_equal(stamp, index_stamp(1, 10, a, a));
	assert_int_not_equal(stamp, index_stamp(1, 11, a, a));
	assert_int_not_equal(stamp, index_stamp(1, 10, b, a));
	assert_int_not_equal(stamp, index_stamp(1, 10, a, b));
	assert_int_not_equal(stamp, index_stamp(1, 10, c, a));
	assert_int_not_equal(stamp, index_stamp(1, 10, a, c));
	assert_int_not_equal(stamp, index_stamp(2, 10, a, a));
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(what_was_put_is_told_in_order),
		in_pool(an_inode_has_one_row),
		in_pool(another_set_of_ignored_fields_begins_anew),
		in_pool(a_copied_store_begins_anew),
		in_pool(a_truncated_one_does_no_harm),
		in_pool(flipped_bytes_do_no_harm),
		in_pool(rubbish_is_replaced),
		in_pool(for_reading_nothing_is_made),
		in_pool(passes_are_recorded),
		in_pool(what_was_verified_is_told_whatever_passes_ignore),
		in_pool(one_made_for_any_ignores_nothing),
		cmocka_unit_test(a_stamp_tells_every_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
