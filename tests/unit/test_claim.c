// A file as we saw it: whoever writes to it, or may, is noticed.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/claim.h"
#include "tests/support/tree.h"

static int setup(void **state)
{
	claim_init();
	return tree_setup(state);
}

static struct claim given_claim(const struct tree *t)
{
	struct claim c;

	put(t, "file", "hello");
	assert_int_equal(claim_take(open_read(t, "file"), &c), 0);
	return c;
}

static void done(struct claim *c)
{
	claim_drop(c);
	close(c->fd);
}

static void a_file_that_nobody_writes_can_be_claimed_and_claimed_again(void **state)
{
	struct tree *t = *state;
	struct claim c = given_claim(t), second;
	int reader = open_read(t, "file");

	assert_int_equal(claim_holds(&c, false), 1);
	assert_int_equal(claim_take(reader, &second), 0);
	done(&c);
	assert_int_equal(claim_holds(&second, false), 1);
	assert_int_equal(claim_holds(&c, false), -EBADF);
	done(&second);
}

static void a_writer_keeps_it_from_being_claimed(void **state)
{
	struct tree *t = *state;
	struct claim c;
	put(t, "file", "hello");
	int fd = open_read(t, "file");
	int writer = openat(t->dir, "file", O_WRONLY | O_CLOEXEC);

	assert_int_equal(claim_take(fd, &c), -EAGAIN);
	close(writer);
	assert_int_equal(claim_take(fd, &c), 0);
	done(&c);
}

static void a_writable_mapping_keeps_it_from_being_claimed(void **state)
{
	struct tree *t = *state;
	struct claim c;
	put(t, "file", "hello");
	int fd = open_read(t, "file");
	int writer = openat(t->dir, "file", O_RDWR | O_CLOEXEC);
	char *map = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, writer, 0);
	close(writer);

	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(claim_take(fd, &c), -EAGAIN);
	munmap(map, 5);
	assert_int_equal(claim_take(fd, &c), 0);
	done(&c);
}

static void it_holds_no_more_once_a_writer_waits(void **state)
{
	struct tree *t = *state;
	struct claim c = given_claim(t);
	int exit_status;
	pid_t child = fork();
	if (child == 0)
		_exit(openat(t->dir, "file", O_WRONLY | O_CLOEXEC) < 0);

	while (claim_holds(&c, false) > 0)
		sched_yield();
	assert_int_equal(claim_holds(&c, true), 0);
	done(&c);

	assert_int_equal(waitpid(child, &exit_status, 0), child);
	assert_int_equal(exit_status, 0);
}

static void a_writer_that_will_not_wait_is_noticed_too(void **state)
{
	struct tree *t = *state;
	struct claim c = given_claim(t);

	assert_int_equal(openat(t->dir, "file", O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1);
	assert_int_equal(errno, EWOULDBLOCK);

	assert_int_equal(claim_holds(&c, true), 0);
	done(&c);
}

static void a_truncation_by_name_is_noticed(void **state)
{
	struct tree *t = *state;
	struct claim c = given_claim(t);
	char path[128];
	int exit_status;
	snprintf(path, sizeof(path), "%s/file", t->path);
	pid_t child = fork();
	if (child == 0)
		_exit(truncate(path, 1) < 0);

	while (claim_holds(&c, true) > 0)
		sched_yield();
	done(&c);

	assert_int_equal(waitpid(child, &exit_status, 0), child);
	assert_int_equal(exit_status, 0);
}

static void a_change_of_mode_or_time_is_noticed(void **state)
{
	struct tree *t = *state;
	const struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
	struct claim c = given_claim(t);

	assert_int_equal(fchmodat(t->dir, "file", 0600, 0), 0);
	assert_int_equal(claim_holds(&c, true), 0);
	done(&c);

	c = given_claim(t);
	assert_int_equal(utimensat(t->dir, "file", times, 0), 0);
	assert_int_equal(claim_holds(&c, true), 0);
	done(&c);
}

static void our_own_link_moves_only_the_ctime(void **state)
{
	struct tree *t = *state;
	struct claim c = given_claim(t);

	assert_int_equal(linkat(t->dir, "file", t->dir, "other", 0), 0);

	assert_int_equal(claim_holds(&c, true), 1);
	assert_int_equal(claim_holds(&c, false), 0);
	done(&c);
}

static void only_whole_seconds_that_are_not_over_hide_a_write(void **state)
{
	const time_t now = time(NULL);
	struct claim c = { .st = { .st_mtim = { now, 0 }, .st_ctim = { now, 0 } } };
	(void)state;

	assert_true(claim_may_end_unseen(&c));
	c.st.st_mtim.tv_sec = now - 3;
	assert_false(claim_may_end_unseen(&c));
	c.st.st_mtim.tv_sec = now + 60;
	assert_true(claim_may_end_unseen(&c));
	c.st.st_mtim.tv_sec = now + 10 * 24 * 60 * 60;
	assert_false(claim_may_end_unseen(&c));
	c.st.st_mtim.tv_sec = now + 60;
	c.st.st_ctim.tv_nsec = 1;
	assert_false(claim_may_end_unseen(&c));
}

#define in_tree(f) cmocka_unit_test_setup_teardown(f, setup, tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_tree(a_file_that_nobody_writes_can_be_claimed_and_claimed_again),
		in_tree(a_writer_keeps_it_from_being_claimed),
		in_tree(a_writable_mapping_keeps_it_from_being_claimed),
		in_tree(it_holds_no_more_once_a_writer_waits),
		in_tree(a_writer_that_will_not_wait_is_noticed_too),
		in_tree(a_truncation_by_name_is_noticed),
		in_tree(a_change_of_mode_or_time_is_noticed),
		in_tree(our_own_link_moves_only_the_ctime),
		cmocka_unit_test(only_whole_seconds_that_are_not_over_hide_a_write),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
