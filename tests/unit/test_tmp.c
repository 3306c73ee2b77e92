// Files that are not in their place yet: without a name as long as possible, then with one of their own.
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

#include "store/base/thread.h"
#include "store/displaced.h"
#include "store/tmp.h"
#include "tests/support/fault.h"
#include "tests/support/pool.h"

static void a_new_file_has_no_name_and_is_ours_alone(void **state)
{
	struct pool *p = *state;
	struct stat st;

	int fd = tmp_open(p->store);

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
	close(fd);
}

static void it_gets_a_name_and_loses_it(void **state)
{
	struct pool *p = *state;
	char name[TMP_NAME_SIZE], path[TMP_NAME_SIZE + 16];
	int fd = tmp_open(p->store);
	assert_int_equal(write(fd, "hello", 5), 5);

	assert_int_equal(tmp_link(p->store, fd, name), 0);

	snprintf(path, sizeof(path), ".hash/tmp/%s", name);
	assert_content(p->tree, path, "hello");
	assert_int_equal(tmp_remove(p->store, name), 0);
	assert_int_equal(tmp_remove(p->store, name), -ENOENT);
	close(fd);
}

static void who_may_not_link_by_fd_links_by_path(void **state)
{
	struct pool *p = *state;
	char name[TMP_NAME_SIZE];
	int fd = tmp_open(p->store);

	fault_next("linkat", ENOENT);
	assert_int_equal(tmp_link(p->store, fd, name), 0);

	assert_true(fault_was_met());
	assert_int_equal(tmp_remove(p->store, name), 0);
	close(fd);
}

static void a_name_that_is_taken_is_passed_over(void **state)
{
	struct pool *p = *state;
	char first[TMP_NAME_SIZE], name[TMP_NAME_SIZE];
	int fd = tmp_open(p->store);
	assert_int_equal(tmp_link(p->store, fd, first), 0);
	close(fd);
	fd = tmp_open(p->store);

	fault_next("linkat", EEXIST);
	assert_int_equal(tmp_link(p->store, fd, name), 0);

	assert_true(fault_was_met());
	assert_string_not_equal(name, first);
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 2);
	close(fd);
}

static void errors_are_told(void **state)
{
	struct pool *p = *state;
	char name[TMP_NAME_SIZE];
	int fd = tmp_open(p->store);

	fault_next("linkat", EDQUOT);
	assert_int_equal(tmp_link(p->store, fd, name), -EDQUOT);
	fault_next("openat", ENOSPC);
	assert_int_equal(tmp_open(p->store), -ENOSPC);
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
	fault_was_met();
	close(fd);
}

static void *link_fifty(void *arg)
{
	const struct pool *p = arg;
	char name[TMP_NAME_SIZE];

	for (int i = 0; i < 50; i++) {
		int fd = tmp_open(p->store);
		if (fd < 0 || tmp_link(p->store, fd, name) < 0)
			return NULL;
		close(fd);
	}
	return arg;
}

static void threads_get_names_of_their_own(void **state)
{
	struct pool *p = *state;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(thread_start(&threads[i], "linker", link_fifty, p), 0);
	for (int i = 0; i < 4; i++)
		thread_join(threads[i]);

	assert_int_equal(names_in(p->tree, ".hash/tmp"), 200);
}

struct found {
	size_t count;
	char names[4][TMP_NAME_SIZE];
};

static int take_name(const char *name, void *arg)
{
	struct found *f = arg;

	assert_true(f->count < 4);
	snprintf(f->names[f->count++], TMP_NAME_SIZE, "%s", name);
	return 0;
}

static struct found names_of(struct store *s)
{
	struct found f = { 0 };

	assert_int_equal(tmp_each(s, take_name, &f), 0);
	return f;
}

static void a_worker_has_a_directory_that_goes_when_it_is_empty(void **state)
{
	struct pool *p = *state;
	char dir[TMP_WORKER_SIZE], path[300];

	tmp_worker_make(p->store, 63, dir);
	assert_string_equal(dir, "worker-63/");
	tmp_worker_make(p->store, 63, dir);  // as a killed pass leaves it
	assert_string_equal(dir, "worker-63/");
	assert_int_equal(names_of(p->store).count, 0);

	snprintf(path, sizeof(path), ".hash/tmp/%sname", dir);
	put(p->tree, path, "content");
	struct found f = names_of(p->store);
	assert_int_equal(f.count, 1);
	assert_string_equal(f.names[0], "worker-63/name");
	tmp_worker_remove(p->store, dir);
	tmp_worker_remove_all(p->store);
	assert_content(p->tree, path, "content");

	assert_int_equal(tmp_remove(p->store, f.names[0]), 0);
	tmp_worker_remove(p->store, dir);
	assert_int_equal(names_in(p->tree, ".hash/tmp"), 0);
}

static void what_has_the_name_of_a_worker_s_directory_is_left_alone(void **state)
{
	struct pool *p = *state;
	char dir[TMP_WORKER_SIZE];

	put(p->tree, ".hash/tmp/worker-0", "somebody's");
	assert_int_equal(symlinkat("/etc", p->store->tmp, "worker-1"), 0);
	for (unsigned worker = 0; worker < 2; worker++) {
		tmp_worker_make(p->store, worker, dir);
		assert_string_equal(dir, "");
		tmp_worker_remove(p->store, dir);
	}
	tmp_worker_remove_all(p->store);
	assert_int_equal(names_of(p->store).count, 2);
	assert_content(p->tree, ".hash/tmp/worker-0", "somebody's");
}

static void a_displaced_file_s_name_tells_its_object(void **state)
{
	(void)state;
	static const struct object_key largest = {
		{ UINT64_MAX, UINT64_MAX }, UINT64_MAX, UINT64_MAX, UINT32_MAX
	};
	static const char *const wrong[] = { "", ".", ".0.0", "copy-1-1", "journal-0", "0-0.0.0" };
	struct object_key key;
	char name[TMP_NAME_SIZE], kept[TMP_NAME_SIZE + 8];

	displaced_name_print("worker-4294967295/", &largest, UINT32_MAX, UINT64_MAX, name);
	assert_true(strlen(name) < TMP_NAME_SIZE - 1);
	assert_int_equal(displaced_name_parse(name, &key), 0);
	assert_memory_equal(&key.digest, &largest.digest, sizeof(key.digest));
	assert_int_equal(key.variant, largest.variant);

	displaced_name_print("", &largest, UINT32_MAX, UINT64_MAX, name);
	snprintf(kept, sizeof(kept), "kept-%s-0", name);
	assert_int_equal(displaced_name_parse(kept, &key), -EINVAL);
	*strchr(name, '.') = '\0';
	assert_int_equal(displaced_name_parse(name, &key), -EINVAL);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(displaced_name_parse(wrong[i], &key), -EINVAL);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(a_new_file_has_no_name_and_is_ours_alone),
		in_pool(it_gets_a_name_and_loses_it),
		in_pool(who_may_not_link_by_fd_links_by_path),
		in_pool(a_name_that_is_taken_is_passed_over),
		in_pool(errors_are_told),
		in_pool(threads_get_names_of_their_own),
		in_pool(a_worker_has_a_directory_that_goes_when_it_is_empty),
		in_pool(what_has_the_name_of_a_worker_s_directory_is_left_alone),
		cmocka_unit_test(a_displaced_file_s_name_tells_its_object),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
