// Where displaced files came from: found again, whatever is in the journal besides.
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

#include "store/base/dir.h"
#include "store/journal.h"
#include "tests/support/fault.h"
#include "tests/support/pool.h"

static const struct dir_id some_dir = { UINT64_MAX - 1, 1700000000123456789 };

static void assert_found(const struct pool *p, const char *tmp, const char *expected)
{
	char *path = NULL;
	struct dir_id in;

	assert_int_equal(journal_find(p->store, tmp, &path, &in), 0);
	assert_string_equal(path, expected);
	assert_true(dir_id_equal(in, some_dir));
	free(path);
}

static void assert_not_found(const struct pool *p, const char *tmp)
{
	char *path = NULL;
	struct dir_id in;

	assert_int_equal(journal_find(p->store, tmp, &path, &in), -ENOENT);
	assert_null(path);
}

static void what_was_recorded_is_found(void **state)
{
	struct pool *p = *state;
	assert_not_found(p, "x.0.0");
	int fd = journal_open(p->store, 0);

	assert_int_equal(journal_write(fd, 0, "x.0.0", "a/file", some_dir), 0);
	assert_int_equal(journal_write(fd, 1, "x.0.1", "a/a name of\ntwo lines", some_dir), 0);
	assert_int_equal(journal_write(fd, 2, "x.0.10", "", some_dir), 0);

	assert_found(p, "x.0.0", "a/file");
	assert_found(p, "x.0.1", "a/a name of\ntwo lines");
	assert_found(p, "x.0.10", "");
	close(fd);
}

static void the_beginning_of_a_name_is_not_the_name(void **state)
{
	struct pool *p = *state;
	int fd = journal_open(p->store, 0);
	assert_int_equal(journal_write(fd, 0, "x.0.10", "a/file", some_dir), 0);

	assert_not_found(p, "x.0.1");
	assert_not_found(p, "x.0.100");
	assert_not_found(p, "x.0.10\na");
	assert_not_found(p, "");
	close(fd);
}

static void a_slot_holds_the_last_record_alone(void **state)
{
	struct pool *p = *state;
	int fd = journal_open(p->store, 0);
	char tmp[TMP_NAME_SIZE], path[32];

	for (unsigned i = 0; i < JOURNAL_SLOTS + 10; i++) {
		snprintf(tmp, sizeof(tmp), "x.0.%u", i);
		snprintf(path, sizeof(path), i < 10 ? "a/a much longer name %u" : "b/%u", i);
		assert_int_equal(journal_write(fd, i, tmp, path, some_dir), 0);
	}

	assert_not_found(p, "x.0.9");
	assert_found(p, "x.0.10", "b/10");
	assert_found(p, "x.0.1023", "b/1023");
	assert_found(p, "x.0.1033", "b/1033");
	close(fd);
}

static void the_longest_path_fits_and_a_longer_one_is_left_out(void **state)
{
	struct pool *p = *state;
	int fd = journal_open(p->store, 0);
	char tmp[TMP_NAME_SIZE] = { 0 }, *path = calloc(1, 6000);
	memset(tmp, 't', sizeof(tmp) - 1);
	memset(path, 'p', 4096);

	assert_int_equal(journal_write(fd, 0, tmp, path, some_dir), 0);
	assert_found(p, tmp, path);
	assert_int_equal(journal_write(fd, 1, "after", "b/file", some_dir), 0);
	assert_found(p, tmp, path);  // whose slot ends where that one's begins

	memset(path, 'p', 5999);
	assert_int_equal(journal_write(fd, 2, "too long", path, some_dir), 0);
	assert_not_found(p, "too long");
	assert_int_equal(journal_write(fd, 3, "behind it", "b/file", some_dir), 0);
	assert_found(p, "behind it", "b/file");
	free(path);
	close(fd);
}

static void each_worker_has_its_own(void **state)
{
	struct pool *p = *state;
	int fds[3];
	char tmp[16];
	for (unsigned i = 0; i < 3; i++) {
		fds[i] = journal_open(p->store, i * 7);
		snprintf(tmp, sizeof(tmp), "x.%u.0", i * 7);
		assert_int_equal(journal_write(fds[i], 0, tmp, tmp, some_dir), 0);
	}

	assert_found(p, "x.0.0", "x.0.0");
	assert_found(p, "x.14.0", "x.14.0");
	journal_remove(p->store, 14);
	assert_not_found(p, "x.14.0");
	assert_found(p, "x.7.0", "x.7.0");
	assert_int_equal(journal_remove_all(p->store), 0);
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
	assert_int_equal(journal_remove_all(p->store), 0);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void a_journal_begins_empty(void **state)
{
	struct pool *p = *state;
	int fd = journal_open(p->store, 0);
	assert_int_equal(journal_write(fd, 0, "x.0.0", "a/file", some_dir), 0);
	close(fd);

	close(journal_open(p->store, 0));

	assert_not_found(p, "x.0.0");
}

static void a_record_that_is_cut_off_counts_for_nothing(void **state)
{
	struct pool *p = *state;
	int fd = journal_open(p->store, 0);
	assert_int_equal(journal_write(fd, 0, "x.0.0", "a/file", some_dir), 0);
	int whole = (int)status(p->tree, ".hash/tmp/journal-0").st_size;

	for (int size = whole - 1; size >= 0; size--) {
		assert_int_equal(ftruncate(fd, size), 0);
		assert_not_found(p, "x.0.0");
	}
	close(fd);
}

// Whatever bytes there are, a path that is found is a string.
static void a_damaged_journal_leads_nowhere_or_somewhere(void **state)
{
	struct pool *p = *state;
	static char noise[20000];
	struct dir_id in;
	int fd = journal_open(p->store, 0);

	srandom(4);
	for (int i = 0; i < 300; i++) {
		char *path = NULL;
		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = "x.0\n\0/ "[random() % 7];
		assert_int_equal(pwrite(fd, noise, sizeof(noise), 0), sizeof(noise));
		int r = journal_find(p->store, "x", &path, &in);
		assert_true(r == 0 || r == -ENOENT);
		assert_true(r < 0 || strlen(path) < 4260);
		free(path);
	}
	close(fd);
}

static void a_journal_that_is_something_else_is_no_danger(void **state)
{
	struct pool *p = *state;
	char *path = NULL;
	struct dir_id in;
	struct stat st;
	assert_int_equal(symlinkat("/etc/passwd", p->store->tmp, "journal-0"), 0);

	assert_true(journal_find(p->store, "root:x", &path, &in) < 0);
	assert_null(path);
	int fd = journal_open(p->store, 0);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	assert_int_equal(st.st_ino, status(p->tree, ".hash/tmp/journal-0").st_ino);
	assert_true(S_ISREG(st.st_mode));
}

static void a_full_disk_is_told(void **state)
{
	struct pool *p = *state;
	int fd = journal_open(p->store, 0);

	fault_next("pwrite", ENOSPC);
	assert_int_equal(journal_write(fd, 0, "x.0.0", "a/file", some_dir), -ENOSPC);

	assert_true(fault_was_met());
	assert_not_found(p, "x.0.0");
	close(fd);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(what_was_recorded_is_found),
		in_pool(the_beginning_of_a_name_is_not_the_name),
		in_pool(a_slot_holds_the_last_record_alone),
		in_pool(the_longest_path_fits_and_a_longer_one_is_left_out),
		in_pool(each_worker_has_its_own),
		in_pool(a_journal_begins_empty),
		in_pool(a_record_that_is_cut_off_counts_for_nothing),
		in_pool(a_damaged_journal_leads_nowhere_or_somewhere),
		in_pool(a_journal_that_is_something_else_is_no_danger),
		in_pool(a_full_disk_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
