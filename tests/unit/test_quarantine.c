// What leaves the store: objects without links, and damaged ones, which wait in quarantine.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/displaced.h"
#include "store/mark.h"
#include "store/object.h"
#include "store/quarantine.h"
#include "tests/support/fault.h"
#include "tests/support/pool.h"

static const char *object_at(const struct object_key *key, char path[OBJECT_PATH_SIZE])
{
	object_path_print(key, path);
	return path;
}

static bool exists(const struct pool *p, const char *path)
{
	return faccessat(p->store->dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool in_quarantine(const struct pool *p, const struct object_key *key)
{
	char path[OBJECT_PATH_SIZE];
	quarantine_path_print(key, path);
	return exists(p, path);
}

static int is_link(const struct pool *p, const char *path)
{
	struct stat st = status(p->tree, path);
	int fd = open_read(p->tree, path);
	int r = mark_is_link(p->store->marks, fd, &st);

	close(fd);
	return r;
}

static int count(const struct object_key *key, const struct stat *st, void *arg)
{
	(void)key, (void)st;
	++*(int *)arg;
	return 0;
}

static int quarantined(const struct pool *p, uint64_t *ret_foreign)
{
	int found = 0;
	*ret_foreign = 0;
	assert_int_equal(quarantine_each(p->store, count, &found, ret_foreign), 0);
	return found;
}

static void an_object_is_removed_with_its_last_name_only(void **state)
{
	struct pool *p = *state;
	char path[OBJECT_PATH_SIZE];
	struct stat st;
	put_old(p, "a/f", "content");
	struct object_key key = make_object(p, "a/f");

	assert_int_equal(object_remove_unused(p->store, object_at(&key, path), &st), OBJECT_HAS_LINKS);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(unlinkat(p->tree->dir, "a/f", 0), 0);
	assert_int_equal(object_remove_unused(p->store, path, &st), OBJECT_REMOVED);
	assert_int_equal(st.st_size, 7);
	assert_int_equal(object_remove_unused(p->store, path, &st), -ENOENT);
}

static void only_a_regular_file_is_removed(void **state)
{
	struct pool *p = *state;
	struct stat st;
	assert_int_equal(symlinkat("format", p->store->dir, "objects/link"), 0);

	assert_int_equal(object_remove_unused(p->store, "objects/link", &st), -EINVAL);
	assert_int_equal(object_remove_unused(p->store, "objects", &st), -EINVAL);
	assert_true(exists(p, "objects/link"));
}

static void a_damaged_object_leaves_its_name_and_stays_a_link(void **state)
{
	struct pool *p = *state;
	char path[OBJECT_PATH_SIZE];
	uint64_t foreign;
	put_old(p, "a/f", "content");
	struct object_key key = make_object(p, "a/f"), before = key;
	assert_int_equal(quarantined(p, &foreign), 0);

	assert_int_equal(quarantine_add(p->store, &key), 0);

	assert_int_equal(key.variant, before.variant);
	assert_false(exists(p, object_at(&before, path)));
	assert_true(in_quarantine(p, &key));
	assert_int_equal(status(p->tree, "a/f").st_nlink, 2);
	assert_int_equal(is_link(p, "a/f"), 1);
	assert_int_equal(quarantined(p, &foreign), 1);
	assert_int_equal(quarantine_add(p->store, &key), -ENOENT);
}

static void a_mark_that_is_gone_is_written_again(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/f", "content");
	struct object_key key = make_object(p, "a/f");
	remove_mark(p, "a/f");
	assert_int_equal(is_link(p, "a/f"), 0);

	assert_int_equal(quarantine_add(p->store, &key), 0);
	assert_int_equal(is_link(p, "a/f"), 1);
}

static void two_of_one_name_do_not_replace_each_other(void **state)
{
	struct pool *p = *state;
	uint64_t foreign;
	put_old(p, "a/f", "content");
	struct object_key first = make_object(p, "a/f");
	assert_int_equal(quarantine_add(p->store, &first), 0);
	put_old(p, "b/f", "content");
	struct object_key second = make_object(p, "b/f");

	assert_int_equal(quarantine_add(p->store, &second), 0);

	assert_int_equal(second.variant, first.variant + 1);
	assert_true(in_quarantine(p, &first) && in_quarantine(p, &second));
	assert_int_equal(quarantined(p, &foreign), 2);
}

static void what_cannot_be_moved_stays_where_it_is(void **state)
{
	struct pool *p = *state;
	char path[OBJECT_PATH_SIZE];
	put_old(p, "a/f", "content");
	struct object_key key = make_object(p, "a/f"), before = key;

	fault_next("renameat2", EIO);
	assert_int_equal(quarantine_add(p->store, &key), -EIO);
	assert_int_equal(key.variant, before.variant);
	assert_true(exists(p, object_at(&key, path)));
}

static void other_names_in_quarantine_are_counted(void **state)
{
	struct pool *p = *state;
	uint64_t foreign;
	put(p->tree, ".hash/quarantine/readme", "x");

	assert_int_equal(quarantined(p, &foreign), 0);
	assert_int_equal(foreign, 1);
}

static void a_copied_store_marks_what_is_in_quarantine_too(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/f", "content");
	struct object_key key = make_object(p, "a/f");
	assert_int_equal(quarantine_add(p->store, &key), 0);
	remove_mark(p, "a/f");

	assert_int_equal(store_renew(p->store), 0);
	assert_int_equal(is_link(p, "a/f"), 1);
}

static int find_key(const struct object_key *key, void *arg)
{
	const struct object_key *wanted = arg;
	return digest_equal(key->digest, wanted->digest) && key->size == wanted->size &&
	       key->identity == wanted->identity && key->variant == wanted->variant;
}

static void the_objects_of_displaced_files_are_told(void **state)
{
	struct pool *p = *state;
	char name[TMP_NAME_SIZE], path[TMP_NAME_SIZE + 16];
	struct object_key key = { .digest = { 1, 2 }, .size = 3, .identity = 4, .variant = 5 };
	assert_int_equal(displaced_each(p->store, find_key, &key), 0);
	displaced_name_print("", &key, 1, 2, name);
	snprintf(path, sizeof(path), ".hash/tmp/%s", name);
	put(p->tree, path, "x");
	put(p->tree, ".hash/tmp/kept-x", "x");

	assert_int_equal(displaced_each(p->store, find_key, &key), 1);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(an_object_is_removed_with_its_last_name_only),
		in_pool(only_a_regular_file_is_removed),
		in_pool(a_damaged_object_leaves_its_name_and_stays_a_link),
		in_pool(a_mark_that_is_gone_is_written_again),
		in_pool(two_of_one_name_do_not_replace_each_other),
		in_pool(what_cannot_be_moved_stays_where_it_is),
		in_pool(other_names_in_quarantine_are_counted),
		in_pool(a_copied_store_marks_what_is_in_quarantine_too),
		in_pool(the_objects_of_displaced_files_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
