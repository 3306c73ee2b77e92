// What a kill leaves: each name of a guest has its exact bytes, and recovery loses none.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/base/dir.h"
#include "store/base/sys.h"
#include "store/object.h"
#include "store/quarantine.h"
#include "store/tmp.h"
#include "tests/support/fault.h"
#include "tests/support/twins.h"

static void die(void *arg)
{
	(void)arg;
	_exit(7);
}

// Replaces b/file by a link to @key, as a pass does, from beginning to end.
static void replace(const struct pool *p, const struct object_key *key)
{
	struct twins w;

	if (twins_open(p, key, &w) < 0 || twins_replace(&w, "b/file") != REPLACED ||
	    replacer_free(w.replacer) < 0)
		_exit(1);
	_exit(0);
}

typedef void arm(const char *call, unsigned nth, void (*run)(void *), void *arg);

// Replaces in a process that dies before or after the @nth call of @call. False: it did not come to that.
static bool killed(const struct pool *p, const struct object_key *key, arm *when, const char *call,
		   unsigned nth)
{
	int exit_status;
	pid_t child = fork();

	if (child == 0) {
		when(call, nth, die, NULL);
		replace(p, key);
	}
	assert_int_equal(waitpid(child, &exit_status, 0), child);
	assert_true(WIFEXITED(exit_status) && (WEXITSTATUS(exit_status) == 7 || exit_status == 0));
	return exit_status != 0;
}

static struct recovery recover(const struct pool *p)
{
	struct recovery r;
	assert_int_equal(replace_recover(p->store, &r), 0);
	return r;
}

static bool is_link(const struct pool *p)
{
	return status(p->tree, "b/file").st_ino == status(p->tree, "a/file").st_ino;
}

struct search {
	const char *prefix;
	char *ret;
};

static int take_if_meant(const char *name, void *arg)
{
	const struct search *s = arg;
	const char *slash = strrchr(name, '/');

	if (strncmp(slash ? slash + 1 : name, s->prefix, strlen(s->prefix)) == 0)
		snprintf(s->ret, 300, ".hash/tmp/%s", name);
	return 0;
}

// The name in tmp/, or in a worker's directory there, that begins with @prefix. "": there is none.
static void find_in_tmp(const struct pool *p, const char *prefix, char ret[300])
{
	ret[0] = '\0';
	assert_int_equal(tmp_each(p->store, take_if_meant, &(struct search){ prefix, ret }), 0);
}

static void the_name_in_flight(const struct pool *p, const struct object_key *key, char ret[300])
{
	char object[OBJECT_NAME_SIZE];

	object_name_print(key, object);
	find_in_tmp(p, object, ret);
	assert_string_not_equal(ret, "");
}

struct step {
	arm *when;
	const char *call;
};

static void a_kill_at_any_step_loses_nothing(void **state)
{
	struct pool *p = *state;
	static const struct step steps[] = {
		{ fault_before, "pwrite" },   { fault_after, "pwrite" },     { fault_before, "linkat" },
		{ fault_after, "linkat" },    { fault_before, "renameat2" }, { fault_after, "renameat2" },
		{ fault_before, "unlinkat" }, { fault_after, "unlinkat" },
	};
	struct object_key key = put_twins(p);
	struct stat before = status(p->tree, "b/file");

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		assert_true(killed(p, &key, steps[i].when, steps[i].call, 1));
		assert_content(p->tree, "b/file", "hello");

		recover(p);

		assert_content(p->tree, "b/file", "hello");
		assert_int_equal(status(p->tree, "b/file").st_mtim.tv_nsec, before.st_mtim.tv_nsec);
		assert_int_equal(status(p->tree, "a/file").st_nlink, is_link(p) ? 3 : 2);
		assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
		if (is_link(p)) {
			assert_int_equal(unlinkat(p->tree->dir, "b/file", 0), 0);
			put_old(p, "b/file", "hello");
		}
	}
}

// A kill after the exchange; then the guest, which runs on, writes to what it had open.
static struct object_key given_displaced(const struct pool *p, const char *now)
{
	struct object_key key = put_twins(p);
	char name[300];

	assert_true(killed(p, &key, fault_after, "renameat2", 1));
	the_name_in_flight(p, &key, name);
	if (now)
		put(p->tree, name, now);
	assert_true(is_link(p));
	return key;
}

static void a_displaced_file_that_is_what_the_object_is_is_dropped(void **state)
{
	struct pool *p = *state;
	given_displaced(p, NULL);

	struct recovery r = recover(p);

	assert_int_equal(r.removed, 1);
	assert_true(is_link(p));
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
}

static void what_a_guest_wrote_to_after_the_kill_is_put_back(void **state)
{
	struct pool *p = *state;
	given_displaced(p, "HELLO");

	struct recovery r = recover(p);

	assert_int_equal(r.put_back, 1);
	assert_content(p->tree, "b/file", "HELLO");
	assert_content(p->tree, "a/file", "hello");
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
}

static void what_a_guest_has_open_for_writing_is_put_back(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, NULL);
	char name[300];
	the_name_in_flight(p, &key, name);
	int fd = openat(p->tree->dir, name, O_WRONLY | O_CLOEXEC);

	struct recovery r = recover(p);

	assert_int_equal(r.put_back, 1);
	assert_int_equal(write(fd, "HELLO", 5), 5);
	close(fd);
	assert_content(p->tree, "b/file", "HELLO");
}

static void what_a_guest_has_locked_is_put_back(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, NULL);
	char name[300];
	the_name_in_flight(p, &key, name);
	ino_t ino = status(p->tree, name).st_ino;
	int fd = openat(p->tree->dir, name, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);

	struct recovery r = recover(p);

	assert_int_equal(r.put_back, 1);
	assert_int_equal(status(p->tree, "b/file").st_ino, ino);
	close(fd);
}

static void what_a_guest_gave_a_second_name_after_the_kill_is_put_back(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, NULL);
	char name[300];
	the_name_in_flight(p, &key, name);
	assert_int_equal(linkat(p->tree->dir, name, p->tree->dir, "b/second", 0), 0);  // by an fd, in truth

	struct recovery r = recover(p);

	assert_int_equal(r.put_back, 1);
	assert_int_equal(status(p->tree, "b/file").st_ino, status(p->tree, "b/second").st_ino);
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
}

static void expect_kept(const struct pool *p, const char *content)
{
	char name[300];

	struct recovery r = recover(p);

	assert_int_equal(r.kept, 1);
	find_in_tmp(p, "kept-", name);
	assert_content(p->tree, name, content);
	r = recover(p);  // and what is kept stays
	assert_int_equal(r.kept + r.removed + r.put_back, 0);
	assert_content(p->tree, name, content);
}

static void without_a_journal_a_changed_file_is_kept(void **state)
{
	struct pool *p = *state;
	given_displaced(p, "HELLO");
	assert_int_equal(unlinkat(p->store->tmp, "journal-0", 0), 0);

	expect_kept(p, "HELLO");
	assert_true(is_link(p));
}

static void a_damaged_journal_is_no_journal(void **state)
{
	struct pool *p = *state;
	given_displaced(p, "HELLO");
	put(p->tree, ".hash/tmp/journal-0", "nonsense");

	expect_kept(p, "HELLO");
}

static void a_journal_that_is_cut_off_is_no_journal(void **state)
{
	struct pool *p = *state;
	given_displaced(p, "HELLO");
	int fd = openat(p->store->tmp, "journal-0", O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, status(p->tree, ".hash/tmp/journal-0").st_size - 3), 0);
	close(fd);

	expect_kept(p, "HELLO");
}

static void who_has_the_guest_s_name_by_now_does_not_get_its_file(void **state)
{
	struct pool *p = *state;
	given_displaced(p, "HELLO");
	assert_int_equal(mkdirat(p->tree->dir, "c", 0755), 0);
	assert_int_equal(linkat(p->tree->dir, "a/file", p->tree->dir, "c/file", 0), 0);
	assert_int_equal(renameat(p->tree->dir, "b", p->tree->dir, "b.old"), 0);
	assert_int_equal(renameat(p->tree->dir, "c", p->tree->dir, "b"), 0);

	expect_kept(p, "HELLO");
	assert_true(is_link(p));
	assert_content(p->tree, "b.old/file", "hello");
}

static void a_journal_cannot_lead_out_of_the_pool(void **state)
{
	struct pool *p = *state;
	static const char *const wrong[] = { "../b/file", "/b/file", "b/../../x/file", "file",
					     "b/link/file" };
	struct object_key key = given_displaced(p, "HELLO");
	assert_int_equal(symlinkat(p->tree->path, p->tree->dir, "b/link"), 0);
	struct dir_id b;
	int dir = openat(p->tree->dir, "b", O_PATH | O_CLOEXEC);
	assert_int_equal(dir_identify(dir, &b), 0);
	close(dir);

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		char name[300], record[600];

		the_name_in_flight(p, &key, name);
		snprintf(record, sizeof(record), "%s\n%016" PRIx64 " %016" PRIx64 "\n%s",
			 name + strlen(".hash/tmp/"), b.ino, (uint64_t)b.born, wrong[i]);
		put(p->tree, ".hash/tmp/journal-0", record);
		int fd = openat(p->store->tmp, "journal-0", O_RDWR | O_CLOEXEC);
		assert_int_equal(ftruncate(fd, (off_t)strlen(record) + 1), 0);
		close(fd);

		assert_int_equal(recover(p).kept, 1);

		assert_true(is_link(p));
		find_in_tmp(p, "kept-", record);
		assert_content(p->tree, record, "HELLO");
		tmp_worker_make(p->store, 0, (char[TMP_WORKER_SIZE]){ "" });
		assert_int_equal(renameat(p->tree->dir, record, p->tree->dir, name), 0);  // once more
	}
}

static void the_guest_s_newer_file_stays_and_the_displaced_one_is_kept(void **state)
{
	struct pool *p = *state;
	given_displaced(p, "HELLO");
	assert_int_equal(unlinkat(p->tree->dir, "b/file", 0), 0);
	put(p->tree, "b/file", "newer");

	expect_kept(p, "HELLO");
	assert_content(p->tree, "b/file", "newer");
}

static void a_directory_that_moved_away_is_no_error(void **state)
{
	struct pool *p = *state;
	given_displaced(p, "HELLO");
	assert_int_equal(renameat(p->tree->dir, "b", p->tree->dir, "c"), 0);

	expect_kept(p, "HELLO");
}

static void expect_kept_when_refused(const struct pool *p, int error)
{
	given_displaced(p, "HELLO");

	fault_next("renameat2", error);
	expect_kept(p, "HELLO");

	assert_true(fault_was_met());
}

static void an_immutable_place_stops_no_pass(void **state)
{
	expect_kept_when_refused(*state, EPERM);
}

// Gives the displaced file the flag @flag, and returns an fd of it. *@ret_flags: those it had.
static int given_frozen(const struct pool *p, const char *changed, unsigned flag, unsigned *ret_flags)
{
	struct object_key key = given_displaced(p, changed);
	char name[300];

	the_name_in_flight(p, &key, name);
	int fd = open_read(p->tree, name);
	assert_int_equal(sys_flags_get(fd, ret_flags), 0);
	if (sys_flags_set(fd, *ret_flags | flag) < 0)
		skip();  // only root may
	return fd;
}

static void an_immutable_file_stops_no_pass(void **state)
{
	struct pool *p = *state;
	unsigned flags;
	int fd = given_frozen(p, NULL, FS_IMMUTABLE_FL, &flags);

	struct recovery r = recover(p);

	assert_int_equal(r.removed, 1);
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
	assert_content(p->tree, "b/file", "hello");
	assert_int_equal(sys_flags_set(fd, flags), 0);
	close(fd);
}

static void an_immutable_and_changed_file_is_put_back(void **state)
{
	struct pool *p = *state;
	unsigned flags;
	int fd = given_frozen(p, "HELLO", FS_APPEND_FL, &flags);

	struct recovery r = recover(p);

	assert_int_equal(r.put_back, 1);
	assert_content(p->tree, "b/file", "HELLO");
	unsigned now;
	assert_int_equal(sys_flags_get(fd, &now), 0);
	assert_true(now & FS_APPEND_FL);
	assert_int_equal(sys_flags_set(fd, flags), 0);
	close(fd);
}

static void a_place_without_the_right_to_write_stops_no_pass(void **state)
{
	expect_kept_when_refused(*state, EACCES);
}

static void a_place_of_another_project_stops_no_pass(void **state)
{
	expect_kept_when_refused(*state, EXDEV);
}

static void without_its_object_a_displaced_file_is_kept(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, NULL);
	char path[OBJECT_PATH_SIZE];
	object_path_print(&key, path);
	assert_int_equal(unlinkat(p->store->dir, path, 0), 0);

	expect_kept(p, "hello");
}

static void what_a_guest_wrote_to_is_put_back_though_its_object_is_in_quarantine(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, "HELLO");
	assert_int_equal(quarantine_add(p->store, &key), 0);

	struct recovery r = recover(p);

	assert_int_equal(r.put_back, 1);
	assert_content(p->tree, "b/file", "HELLO");
	assert_content(p->tree, "a/file", "hello");
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
}

// The one that is there has the name that it would have had.
static void whichever_variant_it_has_got_in_quarantine(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, NULL), moved = key;
	char path[OBJECT_PATH_SIZE], inside[300];
	assert_int_equal(mkdirat(p->store->dir, "quarantine", 0700), 0);
	quarantine_path_print(&key, path);
	snprintf(inside, sizeof(inside), ".hash/%s", path);
	put(p->tree, inside, "an older one");
	assert_int_equal(quarantine_add(p->store, &moved), 0);
	assert_int_equal(moved.variant, 1);

	assert_int_equal(recover(p).put_back, 1);

	assert_false(is_link(p));
	assert_content(p->tree, "b/file", "hello");
}

// It is not compared: the object may be what has changed.
static void a_displaced_file_is_put_back_though_its_object_has_no_mark(void **state)
{
	struct pool *p = *state;
	given_displaced(p, NULL);
	remove_mark(p, "a/file");

	assert_int_equal(recover(p).put_back, 1);

	assert_false(is_link(p));
	assert_content(p->tree, "b/file", "hello");
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
}

static void a_link_that_was_not_exchanged_is_removed_though_its_object_is_in_quarantine(void **state)
{
	struct pool *p = *state;
	struct object_key key = put_twins(p);
	assert_true(killed(p, &key, fault_before, "renameat2", 1));
	assert_int_equal(quarantine_add(p->store, &key), 0);

	assert_int_equal(recover(p).removed, 1);

	assert_false(is_link(p));
	assert_content(p->tree, "b/file", "hello");
}

static void the_guest_s_newer_file_stays_though_the_object_is_in_quarantine(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, "HELLO");
	assert_int_equal(quarantine_add(p->store, &key), 0);
	assert_int_equal(unlinkat(p->tree->dir, "b/file", 0), 0);
	put(p->tree, "b/file", "newer");

	expect_kept(p, "HELLO");
	assert_content(p->tree, "b/file", "newer");
}

static void two_files_of_one_name_are_both_kept(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, "first");
	char name[300];
	the_name_in_flight(p, &key, name);
	assert_int_equal(unlinkat(p->store->tmp, "journal-0", 0), 0);
	assert_int_equal(recover(p).kept, 1);

	put(p->tree, name, "second");
	assert_int_equal(recover(p).kept, 1);

	assert_int_equal(names_in(p->tree, ".hash/tmp"), 2);
}

static void a_symlink_or_a_fifo_that_was_displaced_stops_nothing(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, "HELLO");
	char name[300], other[320];
	the_name_in_flight(p, &key, name);
	snprintf(other, sizeof(other), "%s1", name);
	assert_int_equal(symlinkat("/etc/passwd", p->tree->dir, other), 0);
	snprintf(other, sizeof(other), "%s2", name);
	assert_int_equal(mkfifoat(p->tree->dir, other, 0600), 0);

	struct recovery r = recover(p);

	assert_int_equal(r.put_back, 1);
	assert_int_equal(r.kept, 2);
	assert_content(p->tree, "b/file", "HELLO");
}

static void a_symlink_that_was_displaced_is_put_back(void **state)
{
	struct pool *p = *state;
	struct object_key key = given_displaced(p, NULL);
	char name[300];
	the_name_in_flight(p, &key, name);
	assert_int_equal(unlinkat(p->tree->dir, name, 0), 0);
	assert_int_equal(symlinkat("target", p->tree->dir, name), 0);

	assert_int_equal(recover(p).put_back, 1);
	assert_true(S_ISLNK(status(p->tree, "b/file").st_mode));
}

static void an_error_leaves_the_file_and_the_journal_for_the_next_time(void **state)
{
	struct pool *p = *state;
	struct recovery r;
	given_displaced(p, "HELLO");

	fault_next("renameat2", ENOSPC);
	assert_int_equal(replace_recover(p->store, &r), -ENOSPC);
	assert_true(fault_was_met());

	assert_int_equal(recover(p).put_back, 1);
	assert_content(p->tree, "b/file", "HELLO");
}

static void a_half_made_private_copy_is_removed_and_foreign_names_stay(void **state)
{
	struct pool *p = *state;
	char name[TMP_NAME_SIZE];
	int fd = tmp_open(p->store);
	assert_int_equal(tmp_link(p->store, fd, name), 0);
	close(fd);
	put(p->tree, ".hash/tmp/somebody's", "own");

	assert_int_equal(recover(p).removed, 1);

	assert_int_equal(names_in(p->tree, ".hash/tmp"), 1);
	assert_content(p->tree, ".hash/tmp/somebody's", "own");
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(a_kill_at_any_step_loses_nothing),
		in_pool(a_displaced_file_that_is_what_the_object_is_is_dropped),
		in_pool(what_a_guest_wrote_to_after_the_kill_is_put_back),
		in_pool(what_a_guest_has_open_for_writing_is_put_back),
		in_pool(what_a_guest_has_locked_is_put_back),
		in_pool(what_a_guest_gave_a_second_name_after_the_kill_is_put_back),
		in_pool(without_a_journal_a_changed_file_is_kept),
		in_pool(a_damaged_journal_is_no_journal),
		in_pool(a_journal_that_is_cut_off_is_no_journal),
		in_pool(who_has_the_guest_s_name_by_now_does_not_get_its_file),
		in_pool(a_journal_cannot_lead_out_of_the_pool),
		in_pool(the_guest_s_newer_file_stays_and_the_displaced_one_is_kept),
		in_pool(a_directory_that_moved_away_is_no_error),
		in_pool(an_immutable_place_stops_no_pass),
		in_pool(an_immutable_file_stops_no_pass),
		in_pool(an_immutable_and_changed_file_is_put_back),
		in_pool(a_place_without_the_right_to_write_stops_no_pass),
		in_pool(a_place_of_another_project_stops_no_pass),
		in_pool(without_its_object_a_displaced_file_is_kept),
		in_pool(what_a_guest_wrote_to_is_put_back_though_its_object_is_in_quarantine),
		in_pool(whichever_variant_it_has_got_in_quarantine),
		in_pool(a_displaced_file_is_put_back_though_its_object_has_no_mark),
		in_pool(a_link_that_was_not_exchanged_is_removed_though_its_object_is_in_quarantine),
		in_pool(the_guest_s_newer_file_stays_though_the_object_is_in_quarantine),
		in_pool(two_files_of_one_name_are_both_kept),
		in_pool(a_symlink_or_a_fifo_that_was_displaced_stops_nothing),
		in_pool(a_symlink_that_was_displaced_is_put_back),
		in_pool(an_error_leaves_the_file_and_the_journal_for_the_next_time),
		in_pool(a_half_made_private_copy_is_removed_and_foreign_names_stay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
