// What a displaced file is exchanged with while it is put back is in its own place in the end, or kept.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/fault.h"
#include "tests/support/twins.h"

static int error_then;

// What has come out cannot be opened at first.
static void swap_with_other_that_cannot_be_opened(void *arg)
{
	const struct tree *t = arg;

	assert_int_equal(renameat2(t->dir, "b/file", t->dir, "b/other", RENAME_EXCHANGE), 0);
	fault_next("openat", error_then);
}

// b/file, which was displaced, is put back while opening fails by @error then. Returns its inode.
static ino_t put_back_despite(struct twins *w, int error)
{
	ino_t before = twins_inode(w, "b/file");
	put_old(w->p, "b/other", "other");

	error_then = error;
	assert_int_equal(twins_replace_and_put_back(w, swap_with_other_that_cannot_be_opened), KEPT_CHANGED);
	return before;
}

static void too_many_files_open_after_an_exchange_do_not_end_it(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = put_back_despite(&w, EMFILE);

	assert_int_equal(twins_inode(&w, "b/other"), before);
	assert_content(w.p->tree, "b/file", "other");
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void what_cannot_be_told_after_an_exchange_is_kept_and_moved_no_more(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = put_back_despite(&w, EIO);

	assert_int_equal(twins_inode(&w, "b/file"), before);
	assert_int_equal(names_in_flight(w.p), 1);  // kept-…
	twins_done(&w);
	assert_int_equal(names_in(w.p->tree, ".hash/tmp"), 1);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(too_many_files_open_after_an_exchange_do_not_end_it),
		in_pool(what_cannot_be_told_after_an_exchange_is_kept_and_moved_no_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
