// Reads of many files in one call.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hashify/ring.h"
#include "store/base/cleanup.h"
#include "tests/support/tree.h"

#define DEPTH 4

static void each_read_tells_of_its_own_file(void **state)
{
	struct tree *t = *state;
	char a[5], b[100], c[5], d[5];
	put(t, "a", "hello");
	put(t, "b", "short");
	auto_close int fd_a = open_read(t, "a");
	auto_close int fd_b = open_read(t, "b");
	struct ring *ring = ring_new(DEPTH);
	assert_non_null(ring);

	for (unsigned i = 0; i < 3; i++) {
		struct ring_read reads[DEPTH] = {
			{ fd_a, a, sizeof(a), 0 },
			{ t->dir, d, sizeof(d), 0 },
			{ -1, c, sizeof(c), 0 },
			{ fd_b, b, sizeof(b), 0 },
		};
		memset(a, 0, sizeof(a));
		assert_int_equal(ring_read(ring, reads, DEPTH), 0);
		assert_int_equal(reads[0].got, 5);
		assert_memory_equal(a, "hello", 5);
		assert_true(reads[1].got < 0);
		assert_int_equal(reads[2].got, -EBADF);
		assert_int_equal(reads[3].got, 5);
		assert_memory_equal(b, "short", 5);
		assert_int_equal(ring_read(ring, reads, 1), 0);
		assert_int_equal(ring_read(ring, reads, 0), 0);
	}
	ring_free(ring);
}

#define in_tree(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_tree(each_read_tells_of_its_own_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
