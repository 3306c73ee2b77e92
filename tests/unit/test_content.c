#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/content.h"
#include "tests/support/fault.h"
#include "tests/support/tree.h"

static char buffers[2][CONTENT_BUFFER_SIZE];

static int equal(const struct tree *t, const char *a, const char *b, uint64_t size)
{
	int fa = open_read(t, a), fb = open_read(t, b);
	int r = content_equal(fa, fb, size, buffers[0], buffers[1]);

	close(fa);
	close(fb);
	return r;
}

static int new_file(const struct tree *t, const char *path)
{
	int fd = openat(t->dir, path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

// 3 MiB with data at both ends and one byte in the middle, at no boundary.
#define SPARSE_SIZE (3 * 1024 * 1024 + 17)

static void put_sparse(const struct tree *t, const char *path)
{
	int fd = new_file(t, path);

	assert_int_equal(ftruncate(fd, SPARSE_SIZE), 0);
	assert_int_equal(pwrite(fd, "begin", 5, 0), 5);
	assert_int_equal(pwrite(fd, "middle", 6, 1024 * 1024 + 4097), 6);
	assert_int_equal(pwrite(fd, "end", 3, SPARSE_SIZE - 3), 3);
	close(fd);
}

static int copy(const struct tree *t, const char *from, const char *to, uint64_t size)
{
	int src = open_read(t, from), dst = new_file(t, to);
	int r = content_copy(src, dst, size, (uint64_t)status(t, from).st_size);

	close(src);
	close(dst);
	return r;
}

static void files_with_the_same_bytes_are_equal(void **state)
{
	struct tree *t = *state;
	put(t, "a", "hello");
	put(t, "b", "hello");

	assert_int_equal(equal(t, "a", "b", 5), 1);
}

static void one_other_byte_or_a_shorter_file_is_not_equal(void **state)
{
	struct tree *t = *state;
	put(t, "a", "hello");
	put(t, "b", "hellO");
	put(t, "c", "hell");

	assert_int_equal(equal(t, "a", "b", 5), 0);
	assert_int_equal(equal(t, "a", "c", 5), 0);
	assert_int_equal(equal(t, "c", "a", 5), 0);
}

static void a_copy_keeps_holes_and_the_exact_size(void **state)
{
	struct tree *t = *state;
	put_sparse(t, "a");

	assert_true(copy(t, "a", "b", SPARSE_SIZE) >= 0);

	assert_int_equal(status(t, "b").st_size, SPARSE_SIZE);
	assert_int_equal(equal(t, "a", "b", SPARSE_SIZE), 1);
	assert_true(status(t, "b").st_blocks < 1024 * 1024 / 512);
}

static void where_the_kernel_cannot_copy_we_read_and_write(void **state)
{
	struct tree *t = *state;
	put_sparse(t, "a");

	fault_next("copy_file_range", EXDEV);
	int r = copy(t, "a", "b", SPARSE_SIZE);

	// A filesystem that clones never gets to the call.
	assert_true(r == CONTENT_CLONED || fault_was_met());
	assert_int_equal(equal(t, "a", "b", SPARSE_SIZE), 1);
	fault_was_met();
}

static void a_shorter_copy_has_the_first_bytes(void **state)
{
	struct tree *t = *state;
	put(t, "a", "hello, world");

	assert_true(copy(t, "a", "b", 5) >= 0);

	assert_content(t, "b", "hello");
}

static void a_longer_copy_ends_in_a_hole(void **state)
{
	struct tree *t = *state;
	put(t, "a", "hello");

	assert_true(copy(t, "a", "b", 1 << 20) >= 0);

	assert_int_equal(status(t, "b").st_size, 1 << 20);
	assert_int_equal(equal(t, "a", "b", 5), 1);
}

static void a_full_disk_is_reported(void **state)
{
	struct tree *t = *state;
	put(t, "a", "hello");

	fault_next("ftruncate", ENOSPC);

	assert_int_equal(copy(t, "a", "b", 5), -ENOSPC);
	assert_true(fault_was_met());
}

#define in_tree(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_tree(files_with_the_same_bytes_are_equal),
		in_tree(one_other_byte_or_a_shorter_file_is_not_equal),
		in_tree(a_copy_keeps_holes_and_the_exact_size),
		in_tree(where_the_kernel_cannot_copy_we_read_and_write),
		in_tree(a_shorter_copy_has_the_first_bytes),
		in_tree(a_longer_copy_ends_in_a_hole),
		in_tree(a_full_disk_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
