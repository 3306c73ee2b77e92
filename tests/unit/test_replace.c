// A guest's file becomes a link, or stays what it is, whatever the guest does meanwhile.
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/base/fd.h"
#include "store/base/sys.h"
#include "tests/support/fault.h"
#include "tests/support/twins.h"

static void an_equal_file_becomes_a_link_and_nothing_is_left(void **state)
{
	struct twins w = given_twins(*state);

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	assert_int_equal(twins_flush(&w), 0);
	twins_done(&w);

	assert_true(twins_linked(&w, "b/file"));
	assert_int_equal(status(w.p->tree, "b/file").st_nlink, 3);
	assert_content(w.p->tree, "b/file", "hello");
	assert_int_equal(names_in(w.p->tree, ".hash/tmp"), 0);
}

static void a_full_inode_is_told_and_nothing_changes(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file");

	fault_next("linkat", EMLINK);

	assert_int_equal(twins_replace(&w, "b/file"), -EMLINK);
	assert_true(fault_was_met());
	assert_int_equal(twins_inode(&w, "b/file"), before);
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void an_error_of_the_exchange_leaves_the_file(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file");

	fault_next("renameat2", EXDEV);

	assert_int_equal(twins_replace(&w, "b/file"), -EXDEV);
	assert_true(fault_was_met());
	assert_int_equal(twins_inode(&w, "b/file"), before);
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void two_names_of_one_inode_are_refused(void **state)
{
	struct twins w = given_twins(*state);
	assert_int_equal(linkat(w.p->tree->dir, "a/file", w.p->tree->dir, "b/other", 0), 0);

	assert_int_equal(twins_replace(&w, "b/other"), -EEXIST);
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

// What a guest does just before the exchange. Each gets the tree.

static void write_in_a_child(const char *path, const char *text)
{
	close_range(3, ~0U, 0);                                // those of our leases
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);  // waits for the lease
	_exit(fd < 0 || write(fd, text, strlen(text)) < 0);
}

static pid_t writer;

// A writer is in open(2), and has made the kernel break our lease.
static void begin_to_write(void *arg)
{
	const struct tree *t = arg;
	char path[128];

	snprintf(path, sizeof(path), "%s/b/file", t->path);
	int fd = open_read(t, "b/file");
	assert_int_equal(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
	writer = fork();
	if (writer == 0)
		write_in_a_child(path, ", world");
	while (fcntl(fd, F_GETLEASE) == F_RDLCK)
		sched_yield();
	assert_int_equal(fcntl(fd, F_SETLEASE, F_UNLCK), 0);  // the child may yet have the description, too
	close(fd);
}

static void put_another(void *arg)
{
	const struct tree *t = arg;
	assert_int_equal(renameat(t->dir, "b/new", t->dir, "b/file"), 0);
}

static void remove_it(void *arg)
{
	const struct tree *t = arg;
	assert_int_equal(unlinkat(t->dir, "b/file", 0), 0);
}

static void make_it_a_directory(void *arg)
{
	const struct tree *t = arg;
	remove_it(arg);
	put(t, "b/file/inside", "inside");
}

static void make_it_a_symlink(void *arg)
{
	const struct tree *t = arg;
	remove_it(arg);
	assert_int_equal(symlinkat("elsewhere", t->dir, "b/file"), 0);
}

static void give_it_an_xattr(void *arg)
{
	int fd = open_read(arg, "b/file");
	assert_int_equal(fsetxattr(fd, "user.test", "x", 1, 0), 0);
	close(fd);
}

static void change_its_mode(void *arg)
{
	const struct tree *t = arg;
	assert_int_equal(fchmodat(t->dir, "b/file", 0600, 0), 0);
}

static void give_it_a_second_name(void *arg)
{
	const struct tree *t = arg;
	assert_int_equal(linkat(t->dir, "b/file", t->dir, "b/second", 0), 0);
}

static void a_writer_in_open_keeps_its_bytes(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file");
	int exit_status;

	fault_before("renameat2", 1, begin_to_write, w.p->tree);
	assert_int_equal(twins_replace(&w, "b/file"), KEPT_CHANGED);

	assert_true(fault_was_met());
	assert_int_equal(waitpid(writer, &exit_status, 0), writer);
	assert_int_equal(exit_status, 0);
	assert_int_equal(twins_inode(&w, "b/file"), before);
	assert_content(w.p->tree, "b/file", "hello, world");
	assert_content(w.p->tree, "a/file", "hello");
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void whatever_a_guest_puts_in_its_place_stays(void **state)
{
	struct twins w = given_twins(*state);
	struct tree *t = w.p->tree;
	put_old(w.p, "b/new", "other");
	put_old(w.p, "b/dir", "hello");

	fault_before("renameat2", 1, put_another, t);
	assert_int_equal(twins_replace(&w, "b/file"), KEPT_CHANGED);
	assert_true(fault_was_met());
	assert_content(t, "b/file", "other");

	remove_it(t);
	put_old(w.p, "b/file", "hello");
	fault_before("renameat2", 1, make_it_a_directory, t);
	assert_int_equal(twins_replace(&w, "b/file"), KEPT_CHANGED);
	assert_content(t, "b/file/inside", "inside");

	assert_int_equal(unlinkat(t->dir, "b/file/inside", 0) | unlinkat(t->dir, "b/file", AT_REMOVEDIR), 0);
	put_old(w.p, "b/file", "hello");
	fault_before("renameat2", 1, make_it_a_symlink, t);
	assert_int_equal(twins_replace(&w, "b/file"), KEPT_CHANGED);
	assert_true(S_ISLNK(status(t, "b/file").st_mode));

	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void what_a_guest_removes_stays_removed(void **state)
{
	struct twins w = given_twins(*state);

	fault_before("renameat2", 1, remove_it, w.p->tree);
	assert_int_equal(twins_replace(&w, "b/file"), KEPT_CHANGED);

	assert_true(fault_was_met());
	assert_missing(w.p->tree, "b/file");
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void an_xattr_or_a_mode_set_since_the_comparison_is_kept(void **state)
{
	struct twins w = given_twins(*state);
	struct tree *t = w.p->tree;
	char value[8];

	fault_before("renameat2", 1, give_it_an_xattr, t);
	assert_int_equal(twins_replace(&w, "b/file"), KEPT_CHANGED);
	int fd = open_read(t, "b/file");
	assert_int_equal(fgetxattr(fd, "user.test", value, sizeof(value)), 1);
	assert_int_equal(fremovexattr(fd, "user.test"), 0);
	close(fd);

	fault_before("renameat2", 1, change_its_mode, t);
	assert_int_equal(twins_replace(&w, "b/file"), KEPT_CHANGED);
	assert_int_equal(status(t, "b/file").st_mode & 07777, 0600);
	assert_false(twins_linked(&w, "b/file"));
	twins_done(&w);
}

static void a_second_name_given_since_the_comparison_stays_the_same_file(void **state)
{
	struct twins w = given_twins(*state);

	fault_before("renameat2", 1, give_it_a_second_name, w.p->tree);
	assert_int_equal(twins_replace(&w, "b/file"), KEPT_CHANGED);

	assert_true(fault_was_met());
	assert_int_equal(twins_inode(&w, "b/file"), twins_inode(&w, "b/second"));
	assert_false(twins_linked(&w, "b/file"));
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

// The guest renames another file to the name.
static void what_a_guest_puts_there_while_it_is_put_back_stays(void **state)
{
	struct twins w = given_twins(*state);
	struct tree *t = w.p->tree;
	put_old(w.p, "b/new", "newer");

	assert_int_equal(twins_replace_and_put_back(&w, put_another), KEPT_CHANGED);

	assert_content(t, "b/file", "newer");
	assert_int_equal(names_in_flight(w.p), 1);  // kept-…, which the guest itself did away with
	twins_done(&w);
	assert_int_equal(names_in(t, ".hash/tmp"), 1);
	assert_int_equal(status(t, "a/file").st_nlink, 2);
}

static void put_a_third(void *arg)
{
	const struct tree *t = arg;
	assert_int_equal(renameat(t->dir, "b/third", t->dir, "b/file"), 0);
}

static void put_another_and_then_a_third(void *arg)
{
	put_another(arg);
	fault_before("renameat2", 1, put_a_third, arg);
}

static void of_two_that_a_guest_puts_there_the_latest_stays(void **state)
{
	struct twins w = given_twins(*state);
	put_old(w.p, "b/new", "newer");
	put_old(w.p, "b/third", "latest");

	assert_int_equal(twins_replace_and_put_back(&w, put_another_and_then_a_third), KEPT_CHANGED);

	assert_content(w.p->tree, "b/file", "latest");
	assert_missing(w.p->tree, "b/third");
	twins_done(&w);
}

static void swap(const void *arg, const char *a, const char *b)
{
	const struct tree *t = arg;
	assert_int_equal(renameat2(t->dir, a, t->dir, b, RENAME_EXCHANGE), 0);
}

static void swap_with_other(void *arg)
{
	swap(arg, "b/file", "b/other");
}

static void what_a_guest_swaps_while_it_is_put_back_is_swapped(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file");
	assert_int_equal(mkfifoat(w.p->tree->dir, "b/other", 0600), 0);

	assert_int_equal(twins_replace_and_put_back(&w, swap_with_other), KEPT_CHANGED);

	assert_int_equal(twins_inode(&w, "b/other"), before);
	assert_true(S_ISFIFO(status(w.p->tree, "b/file").st_mode));
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void swap_to_and_fro(void *arg)
{
	swap_with_other(arg);
	fault_before("renameat2", 2, swap_with_other, arg);  // the first brings it out
}

static void what_a_guest_swaps_twice_is_where_it_was(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file");
	put_old(w.p, "b/other", "other");

	assert_int_equal(twins_replace_and_put_back(&w, swap_to_and_fro), KEPT_CHANGED);

	assert_int_equal(twins_inode(&w, "b/file"), before);
	assert_content(w.p->tree, "b/other", "other");
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void swap_elsewhere(void *arg)
{
	swap_with_other(arg);
	swap(arg, "b/other", "a/b");
}

static void turn_round(void *arg)
{
	swap(arg, "b/file", "a/b");
	swap(arg, "b/other", "b/file");
}

static void swap_all(void *arg)
{
	swap_elsewhere(arg);
	fault_before("renameat2", 2, turn_round, arg);
}

// What the guest sees at each moment is the three files, moved as it moves them.
static void three_that_a_guest_turns_round_are_where_it_put_them(void **state)
{
	struct twins w = given_twins(*state);
	const struct tree *t = w.p->tree;
	ino_t before = twins_inode(&w, "b/file");
	put_old(w.p, "b/other", "other");
	put_old(w.p, "a/b", "in a");

	assert_int_equal(twins_replace_and_put_back(&w, swap_all), KEPT_CHANGED);

	assert_content(t, "b/file", "in a");
	assert_content(t, "a/b", "other");
	assert_int_equal(twins_inode(&w, "b/other"), before);
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

#define TURNS 12
static int turn;

static const char *turned(int n)
{
	static char name[32];

	snprintf(name, sizeof(name), "b/%d", n);
	return name;
}

// Each time something is to go back to b/file, something else has that name.
static void turn_again(void *arg)
{
	swap(arg, "b/file", turned(++turn));
	if (turn < TURNS)
		fault_before("renameat2", 1, turn_again, arg);
}

static void many_that_a_guest_swaps_in_turn_are_where_it_put_them(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file"), inodes[TURNS + 1];
	turn = 0;
	for (int n = 1; n <= TURNS; n++) {
		put_old(w.p, turned(n), turned(n));
		inodes[n] = twins_inode(&w, turned(n));
	}

	assert_int_equal(twins_replace_and_put_back(&w, turn_again), KEPT_CHANGED);

	assert_int_equal(turn, TURNS);
	assert_int_equal(twins_inode(&w, "b/file"), inodes[TURNS]);
	assert_int_equal(twins_inode(&w, turned(1)), before);
	for (int n = 2; n <= TURNS; n++)
		assert_int_equal(twins_inode(&w, turned(n)), inodes[n - 1]);
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void remove_what_it_sees(void *arg)
{
	const struct tree *t = arg;
	swap_with_other(arg);
	assert_int_equal(unlinkat(t->dir, "b/other", 0), 0);
}

// The guest has removed its file, by the name that it had given it just before.
static void a_file_that_is_removed_under_its_new_name_is_kept(void **state)
{
	struct twins w = given_twins(*state);
	put_old(w.p, "b/other", "other");

	assert_int_equal(twins_replace_and_put_back(&w, remove_what_it_sees), KEPT_CHANGED);

	assert_missing(w.p->tree, "b/other");
	assert_content(w.p->tree, "b/file", "other");
	twins_done(&w);
	assert_int_equal(names_in(w.p->tree, ".hash/tmp"), 1);
}

static void write_late(int reader)
{
	twins_write_late(reader);
	close(reader);
}

static void make_immutable_and_replace(void **state, bool stays_open)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");
	unsigned flags;

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	assert_int_equal(sys_flags_get(reader, &flags), 0);
	int r = sys_flags_set(reader, flags | FS_IMMUTABLE_FL);
	if (r < 0)
		skip();  // only root may
	if (!stays_open)
		close(reader);
	assert_int_equal(twins_flush(&w), 1);
	if (!stays_open)
		reader = open_read(w.p->tree, "b/file");

	assert_false(twins_linked(&w, "b/file"));
	assert_int_equal(sys_flags_get(reader, &flags), 0);
	assert_true(flags & FS_IMMUTABLE_FL);
	assert_int_equal(names_in_flight(w.p), 0);
	assert_int_equal(sys_flags_set(reader, flags & ~(unsigned)FS_IMMUTABLE_FL), 0);
	close(reader);
	twins_done(&w);
}

static void a_displaced_file_that_a_guest_makes_immutable_is_put_back(void **state)
{
	make_immutable_and_replace(state, true);
}

static void and_so_is_one_that_it_has_closed_since(void **state)
{
	make_immutable_and_replace(state, false);
}

static void a_displaced_file_whose_place_is_taken_is_kept(void **state)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	write_late(reader);
	put_old(w.p, "b/new", "newer");
	put_another(w.p->tree);
	assert_int_equal(twins_flush(&w), 0);

	assert_content(w.p->tree, "b/file", "newer");
	assert_int_equal(names_in_flight(w.p), 1);  // kept-…
	twins_done(&w);
	assert_int_equal(names_in(w.p->tree, ".hash/tmp"), 1);
}

static void a_displaced_file_follows_the_link_that_the_guest_has_moved(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file");
	int reader = open_read(w.p->tree, "b/file");

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	write_late(reader);
	assert_int_equal(renameat(w.p->tree->dir, "b", w.p->tree->dir, "c"), 0);
	assert_int_equal(renameat(w.p->tree->dir, "c/file", w.p->tree->dir, "c/moved"), 0);
	assert_int_equal(twins_flush(&w), 1);

	assert_int_equal(twins_inode(&w, "c/moved"), before);
	assert_content(w.p->tree, "c/moved", "HELLO");
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void an_error_of_putting_back_is_made_good_by_the_flush(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file");
	int reader = open_read(w.p->tree, "b/file");
	struct claim claim;
	assert_int_equal(claim_take(reader, &claim), 0);
	claim_drop(&claim);  // whole no more: replacer_run() must put it back, and cannot
	int dir = openat(w.p->tree->dir, "b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	fault_nth("renameat2", 2, EIO);
	int r = twins_run(&w, dir, "b/file", &claim);
	assert_true(fault_was_met());
	assert_int_equal(r, -EIO);
	assert_int_equal(twins_flush(&w), 1);

	assert_int_equal(twins_inode(&w, "b/file"), before);
	assert_int_equal(names_in_flight(w.p), 0);
	close(dir);
	claim_end(&claim);
	twins_done(&w);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(an_equal_file_becomes_a_link_and_nothing_is_left),
		in_pool(a_full_inode_is_told_and_nothing_changes),
		in_pool(an_error_of_the_exchange_leaves_the_file),
		in_pool(two_names_of_one_inode_are_refused),
		in_pool(a_writer_in_open_keeps_its_bytes),
		in_pool(whatever_a_guest_puts_in_its_place_stays),
		in_pool(what_a_guest_removes_stays_removed),
		in_pool(an_xattr_or_a_mode_set_since_the_comparison_is_kept),
		in_pool(a_second_name_given_since_the_comparison_stays_the_same_file),
		in_pool(what_a_guest_puts_there_while_it_is_put_back_stays),
		in_pool(of_two_that_a_guest_puts_there_the_latest_stays),
		in_pool(what_a_guest_swaps_while_it_is_put_back_is_swapped),
		in_pool(what_a_guest_swaps_twice_is_where_it_was),
		in_pool(three_that_a_guest_turns_round_are_where_it_put_them),
		in_pool(many_that_a_guest_swaps_in_turn_are_where_it_put_them),
		in_pool(a_file_that_is_removed_under_its_new_name_is_kept),
		in_pool(a_displaced_file_that_a_guest_makes_immutable_is_put_back),
		in_pool(and_so_is_one_that_it_has_closed_since),
		in_pool(a_displaced_file_whose_place_is_taken_is_kept),
		in_pool(a_displaced_file_follows_the_link_that_the_guest_has_moved),
		in_pool(an_error_of_putting_back_is_made_good_by_the_flush),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
