// What a directory held comes back as it was put, and from bytes that are none, nothing comes.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hashify/listing.h"

#define LIMIT ((size_t)1 << 20)

static void put_dir(struct listings *l, uint64_t ino, unsigned entries)
{
	char name[32];

	listings_begin(l, ino, ino * 10);
	for (unsigned i = 0; i < entries; i++) {
		snprintf(name, sizeof(name), "%s%u", i % 3 ? "name" : "", i);
		listings_add(l, &(struct listing_entry){ ino + i, (uint8_t)(i % 16), i % 3 ? name : "" });
	}
	listings_end(l, true);
}

static void expect_dir(const struct listings *l, uint64_t ino, unsigned entries)
{
	const struct listing *d = listings_find(l, ino, ino * 10);
	struct listing_entry e;
	char name[32];
	size_t at = 0;

	assert_non_null(d);
	for (unsigned i = 0; i < entries; i++) {
		snprintf(name, sizeof(name), "%s%u", i % 3 ? "name" : "", i);
		assert_true(listing_next(d, &at, &e));
		assert_int_equal(e.ino, ino + i);
		assert_int_equal(e.type, i % 16);
		assert_string_equal(e.name, i % 3 ? name : "");
	}
	assert_false(listing_next(d, &at, &e));
}

// The next pass's: begins with what @l is to keep, and frees it.
static struct listings next(struct listings *l)
{
	struct listings ret;
	size_t size;

	const void *data = listings_result(l, &size);
	assert_non_null(data);
	uint8_t *copy = malloc(size);
	memcpy(copy, data, size);
	listings_free(l);
	listings_init(&ret, copy, size, LIMIT);
	return ret;
}

static struct listings some(unsigned dirs)
{
	struct listings l;

	listings_init(&l, NULL, 0, LIMIT);
	for (unsigned i = 0; i < dirs; i++)
		put_dir(&l, 100 + i, i);
	return next(&l);
}

static void what_was_put_comes_back(void **state)
{
	(void)state;
	struct listings l = some(50);
	for (unsigned i = 0; i < 50; i++)
		expect_dir(&l, 100 + i, i);
	assert_null(listings_find(&l, 100, 999));
	assert_null(listings_find(&l, 7, 70));
	listings_free(&l);
}

static void what_is_kept_is_nothing_new(void **state)
{
	(void)state;
	size_t size;
	struct listings l = some(50);
	for (unsigned i = 0; i < 50; i++)
		listings_keep(&l, listings_find(&l, 100 + i, 1000 + 10 * i));
	assert_null(listings_result(&l, &size));
	listings_free(&l);
}

static void what_is_not_kept_is_gone_and_the_new_is_there(void **state)
{
	(void)state;
	struct listings l = some(50);
	for (unsigned i = 0; i < 50; i += 2)
		listings_keep(&l, listings_find(&l, 100 + i, 1000 + 10 * i));
	put_dir(&l, 500, 7);
	l = next(&l);
	for (unsigned i = 0; i < 50; i++) {
		if (i % 2)
			assert_null(listings_find(&l, 100 + i, 1000 + 10 * i));
		else
			expect_dir(&l, 100 + i, i);
	}
	expect_dir(&l, 500, 7);
	l = next(&l);  // nothing is kept
	assert_null(listings_find(&l, 500, 5000));
	listings_free(&l);
}

static void a_directory_that_was_not_read_to_its_end_is_dropped(void **state)
{
	(void)state;
	struct listings l;
	listings_init(&l, NULL, 0, LIMIT);
	put_dir(&l, 1, 5);
	listings_begin(&l, 2, 20);
	listings_add(&l, &(struct listing_entry){ 3, 8, "half" });
	listings_end(&l, false);
	listings_add(&l, &(struct listing_entry){ 4, 8, "between" });
	put_dir(&l, 3, 5);
	l = next(&l);
	expect_dir(&l, 1, 5);
	assert_null(listings_find(&l, 2, 20));
	expect_dir(&l, 3, 5);
	listings_free(&l);
}

static void too_much_is_not_kept(void **state)
{
	(void)state;
	static char name[250];
	struct listings l;
	size_t size;
	listings_init(&l, NULL, 0, LIMIT);
	memset(name, 'x', sizeof(name) - 1);
	listings_begin(&l, 1, 10);
	for (size_t i = 0; i < LIMIT / sizeof(name) + 1; i++)
		listings_add(&l, &(struct listing_entry){ i, 8, name });
	listings_end(&l, true);
	assert_null(listings_result(&l, &size));
	listings_free(&l);
}

static void any_wrong_byte_is_noticed(void **state)
{
	(void)state;
	struct listings l = some(9);
	size_t size = l.old_size;
	uint8_t *good = malloc(size);
	memcpy(good, l.old, size);
	listings_free(&l);
	for (size_t i = 0; i < 2 * size; i++) {
		size_t length = i < size ? size : i - size;
		uint8_t *bad = malloc(size + 1);
		memcpy(bad, good, size);
		bad[i % size] ^= i < size ? 0x20 : 0;
		listings_init(&l, bad, length, LIMIT);
		for (unsigned d = 0; d < 9; d++)
			assert_null(listings_find(&l, 100 + d, 1000 + 10 * d));
		listings_free(&l);
	}
	free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_comes_back),
		cmocka_unit_test(what_is_kept_is_nothing_new),
		cmocka_unit_test(what_is_not_kept_is_gone_and_the_new_is_there),
		cmocka_unit_test(a_directory_that_was_not_read_to_its_end_is_dropped),
		cmocka_unit_test(too_much_is_not_kept),
		cmocka_unit_test(any_wrong_byte_is_noticed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
