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

// Sizes at and around the ends of buffers and blocks.
static const uint64_t odd_sizes[] = {
	1,
	511,
	4095,
	4096,
	4097,
	CONTENT_BUFFER_SIZE - 1,
	CONTENT_BUFFER_SIZE,
	CONTENT_BUFFER_SIZE + 1,
	3 * CONTENT_BUFFER_SIZE + 17,
};

static void put_noise(const struct tree *t, const char *path, uint64_t size)
{
	char *data = malloc(size);
	int fd = new_file(t, path);

	for (uint64_t i = 0; i < size; i++)
		data[i] = (char)random();
	assert_int_equal(write(fd, data, size), size);
	free(data);
	close(fd);
}

static void a_byte_at_either_end_of_any_size_counts(void **state)
{
	struct tree *t = *state;

	for (size_t i = 0; i < sizeof(odd_sizes) / sizeof(*odd_sizes); i++) {
		uint64_t size = odd_sizes[i];
		put_noise(t, "a", size);
		assert_true(copy(t, "a", "b", size) >= 0);
		assert_int_equal(equal(t, "a", "b", size), 1);
		assert_int_equal(equal(t, "a", "b", size + 1), 0);  // as both are shorter

		int fd = openat(t->dir, "b", O_RDWR | O_CLOEXEC);
		char byte;
		assert_int_equal(pread(fd, &byte, 1, (off_t)size - 1), 1);
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)size - 1), 1);
		close(fd);
		assert_int_equal(equal(t, "a", "b", size), 0);
		assert_int_equal(equal(t, "a", "b", size - 1), 1);
	}
}

// Whichever way it goes, all the bytes come.
static void each_way_of_copying_copies_any_size(void **state)
{
	struct tree *t = *state;
	static const char *const calls[] = { "ioctl", "copy_file_range", "lseek" };
	static const int errors[] = { EOPNOTSUPP, EXDEV, EINVAL };

	for (size_t i = 0; i < sizeof(odd_sizes) / sizeof(*odd_sizes); i++) {
		uint64_t size = odd_sizes[i];
		put_noise(t, "a", size);
		for (size_t k = 0; k < 3; k++) {
			fault_next(calls[k], errors[k]);
			assert_true(copy(t, "a", "b", size) >= 0);
			fault_was_met();
			assert_int_equal(status(t, "b").st_size, size);
			assert_int_equal(equal(t, "a", "b", size), 1);
		}
	}
}

static void where_it_cannot_be_cloned_it_is_copied_and_says_so(void **state)
{
	struct tree *t = *state;
	static const int errors[] = { EOPNOTSUPP, EXDEV, EINVAL, ENOTTY, ENOSYS, EPERM };
	put_sparse(t, "a");

	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		fault_next("ioctl", errors[i]);
		assert_int_equal(copy(t, "a", "b", SPARSE_SIZE), CONTENT_COPIED);
		assert_true(fault_was_met());
		assert_int_equal(equal(t, "a", "b", SPARSE_SIZE), 1);
		assert_true(status(t, "b").st_blocks < 1024 * 1024 / 512);
	}
}

static void any_other_error_of_any_step_is_reported(void **state)
{
	struct tree *t = *state;
	static const char *const calls[] = { "ioctl", "lseek", "copy_file_range", "ftruncate" };
	put_sparse(t, "a");

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		for (unsigned nth = 1;; nth++) {
			fault_nth(calls[i], nth, EIO);
			int r = copy(t, "a", "b", SPARSE_SIZE);
			if (!fault_was_met())
				break;
			assert_int_equal(r, -EIO);
		}
	}
	fault_next("pread", EIO);
	assert_int_equal(equal(t, "a", "a", SPARSE_SIZE), -EIO);
	fault_nth("pread", 2, EIO);
	assert_int_equal(equal(t, "a", "a", SPARSE_SIZE), -EIO);
}

static void shorten(void *arg)
{
	const struct tree *t = arg;
	int fd = openat(t->dir, "a", O_WRONLY | O_CLOEXEC);

	assert_int_equal(ftruncate(fd, 100), 0);
	close(fd);
}

// It would end in zeros that never were in the file.
static void a_source_that_gets_shorter_on_the_way_is_an_error(void **state)
{
	struct tree *t = *state;
	put_noise(t, "a", 5000);

	fault_after("lseek", 2, shorten, t);
	int r = copy(t, "a", "b", 5000);

	assert_true(fault_was_met() ? r == -EIO : r == CONTENT_CLONED);
}

struct looks {
	unsigned count, end_at;
	int error;
};

static int look(void *arg)
{
	struct looks *l = arg;
	return ++l->count == l->end_at ? l->error : 0;
}

static int copy_apart(const struct tree *t, uint64_t size, struct looks *l)
{
	int src = open_read(t, "a"), dst = new_file(t, "b");
	int r = content_copy_apart(src, dst, size, &(struct content_watch){ look, l });

	close(src);
	close(dst);
	return r;
}

static void who_watches_a_copy_sees_each_piece_of_it_and_can_end_it(void **state)
{
	struct tree *t = *state;
	const uint64_t size = 30 * CONTENT_BUFFER_SIZE;
	put_noise(t, "a", size);

	struct looks all = { 0 };
	assert_int_equal(copy_apart(t, size, &all), 0);
	assert_int_equal(all.count, 30);
	assert_int_equal(equal(t, "a", "b", size), 1);

	struct looks some = { .end_at = 11, .error = -EAGAIN };
	assert_int_equal(copy_apart(t, size, &some), -EAGAIN);
	assert_int_equal(some.count, 11);
	int fd = open_read(t, "b");
	assert_int_equal(fsync(fd), 0);  // or it has no blocks yet
	close(fd);
	assert_true(status(t, "b").st_blocks <= 10 * CONTENT_BUFFER_SIZE / 512 + 16);
}

static void a_source_that_is_shorter_than_it_was_has_changed(void **state)
{
	struct tree *t = *state;
	struct looks all = { 0 };
	put_noise(t, "a", 5000);

	assert_int_equal(copy_apart(t, 3 * CONTENT_BUFFER_SIZE, &all), -ESTALE);
}

// Random extents and holes, copied and cut anywhere.
static void whatever_the_extents_the_bytes_are_the_same(void **state)
{
	struct tree *t = *state;
	static char data[40000];

	srandom(5);
	for (int i = 0; i < 60; i++) {
		int fd = new_file(t, "a");
		uint64_t size = (uint64_t)random() % (2 << 20) + 1;
		assert_int_equal(ftruncate(fd, (off_t)size), 0);
		for (long k = random() % 6; k > 0; k--) {
			memset(data, (int)random(), sizeof(data));
			uint64_t at = (uint64_t)random() % size, room = size - at;
			size_t n = (size_t)random() % (room < sizeof(data) ? room : sizeof(data));
			assert_int_equal(pwrite(fd, data, n, (off_t)at), n);
		}
		close(fd);
		uint64_t end = i % 2 ? size : (uint64_t)random() % size;
		if (i % 3 == 0)
			fault_next("copy_file_range", ENOSYS);
		assert_true(copy(t, "a", "b", end) >= 0);
		fault_was_met();
		assert_int_equal(status(t, "b").st_size, end);
		assert_int_equal(equal(t, "a", "b", end), 1);
	}
}

static void nothing_of_a_file_is_an_empty_file(void **state)
{
	struct tree *t = *state;
	put(t, "a", "hello");

	assert_int_equal(copy(t, "a", "b", 0), CONTENT_CLONED);
	assert_int_equal(status(t, "b").st_size, 0);
	assert_int_equal(equal(t, "a", "b", 0), 1);
}

// What XFS would take another block for.
static void the_size_is_not_set_where_it_is_right(void **state)
{
	struct tree *t = *state;
	put(t, "a", "hello");

	fault_next("ftruncate", EIO);

	int r = copy(t, "a", "b", 5);
	assert_true(r == CONTENT_CLONED || r == CONTENT_COPIED);
	assert_false(fault_was_met());
	assert_content(t, "b", "hello");
}

static void a_full_disk_is_reported(void **state)
{
	struct tree *t = *state;
	put(t, "a", "hello");

	fault_next("ftruncate", ENOSPC);

	assert_int_equal(copy(t, "a", "b", 6), -ENOSPC);
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
		in_tree(a_byte_at_either_end_of_any_size_counts),
		in_tree(each_way_of_copying_copies_any_size),
		in_tree(where_it_cannot_be_cloned_it_is_copied_and_says_so),
		in_tree(any_other_error_of_any_step_is_reported),
		in_tree(a_source_that_gets_shorter_on_the_way_is_an_error),
		in_tree(who_watches_a_copy_sees_each_piece_of_it_and_can_end_it),
		in_tree(a_source_that_is_shorter_than_it_was_has_changed),
		in_tree(whatever_the_extents_the_bytes_are_the_same),
		in_tree(nothing_of_a_file_is_an_empty_file),
		in_tree(the_size_is_not_set_where_it_is_right),
		in_tree(a_full_disk_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
