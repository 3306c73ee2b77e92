// Xattrs as one set: equal if the files have the same, whatever order they came in, and ours are none of
// them.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/xattr.h"
#include "tests/support/fault.h"
#include "tests/support/tree.h"

static int new_file(const struct tree *t, const char *path)
{
	put(t, path, "hello");
	return open_read(t, path);
}

static struct xattr_set set_of(int fd)
{
	struct xattr_set s;

	assert_int_equal(xattr_read(fd, &s), 0);
	return s;
}

static bool same(int a, int b)
{
	struct xattr_set x = set_of(a), y = set_of(b);
	bool r = xattr_equal(&x, &y);

	assert_int_equal(r, xattr_equal(&y, &x));
	xattr_free(&x);
	xattr_free(&y);
	return r;
}

static void give(int fd, const char *name, const char *value)
{
	assert_int_equal(xattr_set(fd, name, value, strlen(value), 0), 0);
}

static void files_without_any_have_equal_sets(void **state)
{
	int a = new_file(*state, "a"), b = new_file(*state, "b");

	struct xattr_set s = set_of(a);
	assert_int_equal(s.size, 0);
	xattr_free(&s);
	assert_true(same(a, b));
	close(a);
	close(b);
}

static void a_set_is_sorted_by_name(void **state)
{
	int fd = new_file(*state, "a");
	static const char expected[] = "user.a\0\1\0\0\0"
				       "1"
				       "user.ab\0\0\0\0\0"
				       "user.b\0\2\0\0\0"
				       "22";
	give(fd, "user.b", "22");
	give(fd, "user.ab", "");
	give(fd, "user.a", "1");

	struct xattr_set s = set_of(fd);

	assert_int_equal(s.size, sizeof(expected) - 1);
	assert_memory_equal(s.data, expected, s.size);
	xattr_free(&s);
	close(fd);
}

static void names_values_and_their_bounds_all_count(void **state)
{
	int a = new_file(*state, "a"), b = new_file(*state, "b");
	static const char *const other[][2] = {
		{ "user.name", "valu" },  { "user.name", "valuf" }, { "user.name", "" },
		{ "user.nam", "evalue" }, { "user.namev", "alue" },
	};
	give(a, "user.name", "value");

	for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++) {
		give(b, other[i][0], other[i][1]);
		assert_false(same(a, b));
		assert_int_equal(xattr_remove(b, other[i][0]), 0);
	}
	give(b, "user.name", "value");
	assert_true(same(a, b));
	close(a);
	close(b);
}

static void the_order_they_were_given_in_does_not_count(void **state)
{
	int a = new_file(*state, "a"), b = new_file(*state, "b");
	char name[32];

	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "user.%d", i);
		give(a, name, name);
		snprintf(name, sizeof(name), "user.%d", i * 7 % 20);
		give(b, name, name);
	}

	assert_true(same(a, b));
	close(a);
	close(b);
}

static void ours_are_hidden_and_only_ours(void **state)
{
	int a = new_file(*state, "a"), b = new_file(*state, "b");

	give(a, XATTR_MARK_USER, "1");
	if (geteuid() == 0)
		give(a, XATTR_MARK_TRUSTED, "1");
	assert_true(same(a, b));
	give(a, XATTR_MARK_USER "s", "1");
	assert_false(same(a, b));
	assert_false(xattr_is_ours("user.hashfs"));
	assert_false(xattr_is_ours("security.hashfs.object"));
	close(a);
	close(b);
}

static void what_is_written_back_is_equal(void **state)
{
	int a = new_file(*state, "a"), b = new_file(*state, "b");
	assert_int_equal(xattr_set(a, "user.binary", "\0\n\xff", 3, 0), 0);
	give(a, "user.empty", "");
	give(a, "user.name", "value");
	give(a, XATTR_MARK_USER, "mark");
	struct xattr_set s = set_of(a);

	assert_int_equal(xattr_write(b, &s), 0);

	assert_true(same(a, b));
	assert_int_equal(xattr_get(b, XATTR_MARK_USER, NULL, 0), -ENODATA);
	xattr_free(&s);
	close(a);
	close(b);
}

// As large a value as this filesystem takes.
static void the_largest_value_is_read_and_written_whole(void **state)
{
	int a = new_file(*state, "a"), b = new_file(*state, "b");
	static char value[65536];
	size_t size = sizeof(value);
	for (size_t i = 0; i < size; i++)
		value[i] = (char)(i * 31 + i / 256);
	while (xattr_set(a, "user.large", value, size, 0) < 0)
		size -= 256;
	struct xattr_set s = set_of(a);

	assert_int_equal(s.size, strlen("user.large") + 1 + 4 + size);
	assert_int_equal(xattr_write(b, &s), 0);
	assert_true(same(a, b));
	value[size - 1]++;
	assert_int_equal(xattr_set(b, "user.large", value, size, 0), 0);
	assert_false(same(a, b));
	xattr_free(&s);
	close(a);
	close(b);
}

// A file in memory, where root may give any number of them, with @count of 15000 bytes each.
static int new_file_with(unsigned count)
{
	static const char value[15000];
	char name[32];
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "trusted.%u", i);
		if (xattr_set(fd, name, value, sizeof(value), 0) < 0) {
			close(fd);
			skip();
		}
	}
	return fd;
}

static void a_set_that_is_too_large_to_be_compared_is_refused(void **state)
{
	int large = new_file_with(18), most = new_file_with(17);
	struct xattr_set s = set_of(most);
	(void)state;

	assert_true(s.size < XATTR_SET_MAX);
	assert_true(xattr_same(most, &s));
	assert_false(xattr_same(large, &s));
	xattr_free(&s);
	assert_int_equal(xattr_read(large, &s), -E2BIG);
	close(large);
	close(most);
}

static void it_is_read_whole_to_be_copied(void **state)
{
	int large = new_file_with(100), copy = new_file_with(0);
	struct xattr_set s, copied;
	(void)state;

	assert_int_equal(xattr_read_all(large, &s), 0);
	assert_true(s.size > (size_t)100 * 15000);
	assert_int_equal(xattr_write(copy, &s), 0);
	assert_int_equal(xattr_read_all(copy, &copied), 0);
	assert_true(xattr_equal(&s, &copied));
	xattr_free(&s);
	xattr_free(&copied);
	close(large);
	close(copy);
}

static void an_error_of_reading_is_told(void **state)
{
	int fd = new_file(*state, "a");
	struct xattr_set s;
	give(fd, "user.name", "value");

	fault_next("listxattr", EIO);
	assert_int_equal(xattr_read(fd, &s), -EIO);
	fault_next("getxattr", EIO);
	assert_int_equal(xattr_read(fd, &s), -EIO);
	assert_true(fault_was_met());
	close(fd);
}

static void one_that_is_removed_meanwhile_is_none(void **state)
{
	int a = new_file(*state, "a"), b = new_file(*state, "b");
	give(a, "user.one", "1");
	give(a, "user.two", "2");
	give(b, "user.two", "2");
	struct xattr_set expected = set_of(b);

	fault_nth("getxattr", 1, ENODATA);
	struct xattr_set s = set_of(a);

	assert_true(fault_was_met());
	assert_true(xattr_equal(&s, &expected));
	xattr_free(&s);
	xattr_free(&expected);
	close(a);
	close(b);
}

static void a_filesystem_without_any_has_empty_sets(void **state)
{
	int fd = new_file(*state, "a");
	give(fd, "user.name", "value");

	fault_next("listxattr", EOPNOTSUPP);
	struct xattr_set s = set_of(fd);

	assert_true(fault_was_met());
	assert_int_equal(s.size, 0);
	xattr_free(&s);
	close(fd);
}

static void a_copy_without_one_of_them_is_no_copy(void **state)
{
	int a = new_file(*state, "a"), b = new_file(*state, "b");
	give(a, "user.one", "1");
	give(a, "user.two", "2");
	struct xattr_set s = set_of(a);

	fault_nth("setxattr", 2, ENOSPC);
	assert_int_equal(xattr_write(b, &s), -ENOSPC);

	assert_true(fault_was_met());
	xattr_free(&s);
	close(a);
	close(b);
}

#define in_tree(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_tree(files_without_any_have_equal_sets),
		in_tree(a_set_is_sorted_by_name),
		in_tree(names_values_and_their_bounds_all_count),
		in_tree(the_order_they_were_given_in_does_not_count),
		in_tree(ours_are_hidden_and_only_ours),
		in_tree(what_is_written_back_is_equal),
		in_tree(the_largest_value_is_read_and_written_whole),
		in_tree(a_set_that_is_too_large_to_be_compared_is_refused),
		in_tree(it_is_read_whole_to_be_copied),
		in_tree(an_error_of_reading_is_told),
		in_tree(one_that_is_removed_meanwhile_is_none),
		in_tree(a_filesystem_without_any_has_empty_sets),
		in_tree(a_copy_without_one_of_them_is_no_copy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
