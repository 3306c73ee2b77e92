// What a directory held comes back as it was put, and from bytes that are none, nothing comes.
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hashify/listing.h"

#define LIMIT ((size_t)1 << 20)
#define OBJECTS UINT64_C(77)

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
	uint32_t links = 0;

	assert_non_null(d);
	for (unsigned i = 0; i < entries; i++) {
		if (i % 3 == 0) {
			assert_int_equal(listing_link(d, links++), ino + i);
			continue;
		}
		snprintf(name, sizeof(name), "name%u", i);
		assert_true(listing_next(d, &at, &e));
		assert_int_equal(e.ino, ino + i);
		assert_int_equal(e.type, i % 16);
		assert_string_equal(e.name, name);
	}
	assert_int_equal(listing_links(d), links);
	assert_false(listing_next(d, &at, &e));
}

// What @l is to keep, which it frees: as it comes from the index, for the caller to free.
static uint8_t *kept(struct listings *l, size_t *ret_size)
{
	const void *data = listings_result(l, ret_size);
	assert_non_null(data);
	uint8_t *copy = malloc(*ret_size);
	memcpy(copy, data, *ret_size);
	listings_free(l);
	return copy;
}

// The next pass's.
static struct listings next(struct listings *l)
{
	struct listings ret;
	size_t size;
	uint8_t *data = kept(l, &size);
	listings_init(&ret, data, size, OBJECTS, LIMIT);
	return ret;
}

static struct listings written(unsigned dirs)
{
	struct listings l;

	listings_init(&l, NULL, 0, OBJECTS, LIMIT);
	for (unsigned i = 0; i < dirs; i++)
		put_dir(&l, 100 + i, i);
	return l;
}

static struct listings some(unsigned dirs)
{
	struct listings l = written(dirs);
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
	listings_init(&l, NULL, 0, OBJECTS, LIMIT);
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
	listings_init(&l, NULL, 0, OBJECTS, LIMIT);
	memset(name, 'x', sizeof(name) - 1);
	listings_begin(&l, 1, 10);
	for (size_t i = 0; i < LIMIT / sizeof(name) + 1; i++)
		listings_add(&l, &(struct listing_entry){ i, 8, name });
	listings_end(&l, true);
	assert_null(listings_result(&l, &size));
	listings_free(&l);
}

static struct listings with(const struct listing_entry *e)
{
	struct listings l;
	listings_init(&l, NULL, 0, OBJECTS, LIMIT);
	listings_begin(&l, 1, 10);
	listings_add(&l, &(struct listing_entry){ 2, DT_REG, "" });
	listings_add(&l, &(struct listing_entry){ 3, DT_LNK, "link" });
	listings_add(&l, e);
	listings_end(&l, true);
	return next(&l);
}

static void a_leaf_holds_nothing_that_needs_it_open(void **state)
{
	(void)state;
	static const uint8_t others[] = { DT_REG, DT_DIR, DT_UNKNOWN };
	struct listings l = with(&(struct listing_entry){ 4, DT_FIFO, "fifo" });
	assert_true(listings_has_leaf(&l, 1));
	assert_true(listing_is_leaf(listings_find(&l, 1, 10)));
	assert_false(listings_has_leaf(&l, 2));
	listings_free(&l);
	for (size_t i = 0; i < sizeof(others); i++) {
		l = with(&(struct listing_entry){ 4, others[i], "other" });
		assert_non_null(listings_find(&l, 1, 10));
		assert_false(listings_has_leaf(&l, 1));
		assert_false(listing_is_leaf(listings_find(&l, 1, 10)));
		listings_free(&l);
	}
}

static void links_count_for_the_same_objects_alone(void **state)
{
	(void)state;
	struct listings l = some(3);
	size_t size;
	assert_true(l.same_objects);
	listings_free(&l);
	l = written(3);
	uint8_t *data = kept(&l, &size);
	listings_init(&l, data, size, OBJECTS + 1, LIMIT);
	assert_false(l.same_objects);
	expect_dir(&l, 102, 2);
	listings_free(&l);
}

// Are the directories of @data, which it takes, there?
static bool has_them(uint8_t *data, size_t size, unsigned dirs)
{
	struct listings l;
	unsigned found = 0;
	listings_init(&l, data, size, OBJECTS, LIMIT);
	for (unsigned d = 0; d < dirs; d++)
		found += listings_find(&l, 100 + d, 1000 + 10 * d) != NULL;
	listings_free(&l);
	assert_true(found == 0 || found == dirs);
	return found > 0;
}

static uint8_t *copy_of(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);
	memcpy(copy, data, size);
	return copy;
}

static void any_wrong_byte_is_noticed(void **state)
{
	(void)state;
	struct listings l = written(9);
	size_t size;
	uint8_t *good = kept(&l, &size);
	assert_true(has_them(copy_of(good, size), size, 9));
	for (size_t i = 0; i < size; i++) {
		uint8_t *bad = copy_of(good, size);
		bad[i] ^= 0x20;
		assert_false(has_them(bad, size, 9));
		assert_false(has_them(copy_of(good, size), i, 9));
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
		cmocka_unit_test(a_leaf_holds_nothing_that_needs_it_open),
		cmocka_unit_test(links_count_for_the_same_objects_alone),
		cmocka_unit_test(any_wrong_byte_is_noticed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
