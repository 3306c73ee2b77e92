// Whichever system call fails, and wherever the process is killed: a guest's file has its bytes, and the next
// pass finds its way.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/base/fd.h"
#include "store/object.h"
#include "store/tmp.h"
#include "tests/support/fault.h"
#include "tests/support/twins.h"

// A grace period passes at once.
static int64_t slept;

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);

	ret->tv_sec += slept / 1000000000;
	ret->tv_nsec += slept % 1000000000;
	if (ret->tv_nsec >= 1000000000) {
		ret->tv_sec++;
		ret->tv_nsec -= 1000000000;
	}
	return r;
}

int nanosleep(const struct timespec *pause, struct timespec *left)
{
	(void)left;
	slept += pause->tv_sec * INT64_C(1000000000) + pause->tv_nsec;
	return 0;
}

// One disturbance at a time, of the @nth @call after begin().
static struct disturbance {
	enum { FAIL, DIE } kind;
	int error;
	const char *call;
	unsigned nth;
} now;

static void die(void *arg)
{
	(void)arg;
	_exit(7);
}

static void begin(void)
{
	if (now.kind == FAIL)
		fault_nth(now.call, now.nth, now.error);
	else
		fault_after(now.call, now.nth, die, NULL);
}

// Runs @when, which calls begin(). Did it come to the disturbance?
static bool disturbed(const struct pool *p, void (*when)(const struct pool *p))
{
	int exit_status;

	if (now.kind == FAIL) {
		when(p);
		return fault_was_met();
	}
	pid_t child = fork();
	if (child == 0) {
		when(p);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &exit_status, 0), child);
	assert_true(WIFEXITED(exit_status) && (WEXITSTATUS(exit_status) == 7 || exit_status == 0));
	return exit_status != 0;
}

struct scenario {
	void (*given)(const struct pool *p);
	void (*when)(const struct pool *p);
	void (*then)(const struct pool *p);
};

// Disturbs each call that there is, one after another, and returns how many were met.
static unsigned disturb_each(const struct pool *p, const struct scenario *s)
{
	unsigned times = 0;

	for (const char *const *call = fault_calls; *call; call++) {
		if (now.error == EMFILE && strcmp(*call, "openat") != 0)
			continue;
		now.call = *call;
		bool met = true;
		for (now.nth = 1; met; now.nth++) {
			s->given(p);
			met = disturbed(p, s->when);
			s->then(p);
			times += met;
		}
	}
	return times;
}

static void disturb(const struct pool *p, const struct scenario *s)
{
	static const struct disturbance disturbances[] = {
		{ .kind = FAIL, .error = EIO },
		{ .kind = FAIL, .error = EMFILE },
		{ .kind = DIE },
	};
	unsigned times = 0;

	for (size_t i = 0; i < sizeof(disturbances) / sizeof(*disturbances); i++) {
		now = disturbances[i];
		times += disturb_each(p, s);
	}
	assert_true(times > 0);
}

// Replacing

static struct object_key key;

// a/file is an object, b/file its twin.
static void given_pair(const struct pool *p)
{
	twins_await_writers();
	unlinkat(p->tree->dir, "b/file", 0);
	put_old(p, "b/file", "hello");
	if (faccessat(p->tree->dir, "a/file", F_OK, 0) == 0)
		return;
	put_old(p, "a/file", "hello");
	key = make_object(p, "a/file");
}

static void write_to(int fd)
{
	int late = open(fd_path(fd).text, O_WRONLY | O_CLOEXEC);

	if (late < 0 || write(late, "HELLO", 5) != 5)
		_exit(1);
	close(late);
}

enum writer { NOBODY, BEFORE_THE_EXCHANGE, BEFORE_THE_FLUSH };

static void replace(const struct pool *p, enum writer writer)
{
	struct twins w = { .p = p, .key = key };
	struct claim claim;
	struct stat st;
	int dir = openat(p->tree->dir, "b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = openat(p->tree->dir, "b/file", O_RDONLY | O_CLOEXEC);
	int reader = openat(p->tree->dir, "b/file", O_RDONLY | O_CLOEXEC);
	w.object = object_open(p->store, &key, &st);

	if (dir < 0 || fd < 0 || reader < 0 || w.object < 0 || claim_take(fd, &claim) < 0)
		_exit(1);
	if (writer == BEFORE_THE_EXCHANGE) {
		claim_drop(&claim);
		write_to(reader);
	}
	// A killed process writes no more: that is disturbed later.
	bool later = writer == BEFORE_THE_FLUSH && now.kind != FAIL;
	if (!later)
		begin();
	if (replacer_new(p->store, 0, TWINS_WAITING, &w.replacer) == 0)
		twins_run(&w, dir, "b/file", &claim);
	claim_end(&claim);
	if (writer == BEFORE_THE_FLUSH)
		twins_write_late(reader);
	if (later)
		begin();
	replacer_free(w.replacer);
	close(w.object);
	close(reader);
	close(dir);
}

static void replace_undisturbed(const struct pool *p)
{
	replace(p, NOBODY);
}

static void replace_and_write_before(const struct pool *p)
{
	replace(p, BEFORE_THE_EXCHANGE);
}

static void replace_and_write_late(const struct pool *p)
{
	replace(p, BEFORE_THE_FLUSH);
}

// What is in tmp/ after recovery, which must be kept files, goes away. How many had this content?
static size_t take_kept(const struct pool *p, const char *content)
{
	DIR *d = fdopendir(openat(p->store->tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	const struct dirent *e;
	size_t count = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char path[300];
		if (e->d_name[0] == '.')
			continue;
		assert_memory_equal(e->d_name, "kept-", 5);
		snprintf(path, sizeof(path), ".hash/tmp/%s", e->d_name);
		assert_content(p->tree, path, content);
		assert_int_equal(unlinkat(p->tree->dir, path, 0), 0);
		count++;
	}
	closedir(d);
	return count;
}

static void recover(const struct pool *p)
{
	struct recovery r;

	assert_int_equal(replace_recover(p->store, &r), 0);
	assert_content(p->tree, "a/file", "hello");
}

static void it_has_its_bytes(const struct pool *p)
{
	recover(p);
	assert_content(p->tree, "b/file", "hello");
	assert_int_equal(take_kept(p, "hello"), 0);
	bool is_link = status(p->tree, "b/file").st_ino == status(p->tree, "a/file").st_ino;
	assert_int_equal(status(p->tree, "a/file").st_nlink, is_link ? 3 : 2);
}

// Only where the file's place could not be opened it is kept.
static void what_was_written_is_there(const struct pool *p)
{
	twins_await_writers();
	recover(p);
	if (take_kept(p, "HELLO") == 0) {
		assert_content(p->tree, "b/file", "HELLO");
		return;
	}
	assert_int_equal(now.kind, FAIL);
	assert_content(p->tree, "b/file", "hello");
}

static void a_file_that_is_replaced(void **state)
{
	static const struct scenario s = { given_pair, replace_undisturbed, it_has_its_bytes };
	disturb(*state, &s);
}

static void a_file_that_changed_before_the_exchange(void **state)
{
	static const struct scenario s = { given_pair, replace_and_write_before, what_was_written_is_there };
	disturb(*state, &s);
}

static void a_file_that_changed_afterwards(void **state)
{
	static const struct scenario s = { given_pair, replace_and_write_late, what_was_written_is_there };
	disturb(*state, &s);
}

// Recovering

// With an object that cannot be read nobody can tell that the file is its twin.
static void it_has_its_bytes_or_is_kept(const struct pool *p)
{
	recover(p);
	assert_content(p->tree, "b/file", "hello");
	assert_true(take_kept(p, "hello") == 0 || now.kind == FAIL);
}

static void exchange_and_die(const struct pool *p)
{
	now = (struct disturbance){ .kind = DIE, .call = "renameat2", .nth = 1 };
	replace(p, NOBODY);
}

static void write_to_displaced(const struct pool *p)
{
	char object[OBJECT_NAME_SIZE], name[TMP_NAME_SIZE];

	object_name_print(&key, object);
	snprintf(name, sizeof(name), "worker-0/%s.0.0", object);
	int fd = openat(p->store->tmp, name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	write_to(fd);
	close(fd);
}

static void given_displaced(const struct pool *p)
{
	const struct disturbance wanted = now;

	given_pair(p);
	now.kind = DIE;
	assert_true(disturbed(p, exchange_and_die));
	now = wanted;
}

static void given_displaced_and_changed(const struct pool *p)
{
	given_displaced(p);
	write_to_displaced(p);
}

static void recover_disturbed(const struct pool *p)
{
	struct recovery r;

	begin();
	replace_recover(p->store, &r);
}

static void a_recovery_that_has_a_file_to_drop(void **state)
{
	static const struct scenario s = { given_displaced, recover_disturbed, it_has_its_bytes_or_is_kept };
	disturb(*state, &s);
}

static void a_recovery_that_has_a_file_to_put_back(void **state)
{
	static const struct scenario s = { given_displaced_and_changed, recover_disturbed,
					   what_was_written_is_there };
	disturb(*state, &s);
}

// Making objects

static void given_no_object(const struct pool *p)
{
	char path[OBJECT_PATH_SIZE];

	put_old(p, "a/file", "hello");
	key = key_of(p, "a/file");
	object_path_print(&key, path);
	unlinkat(p->store->dir, path, 0);
	path[strlen("objects/abc")] = '\0';
	unlinkat(p->store->dir, path, AT_REMOVEDIR);
}

static void adopt(const struct pool *p)
{
	struct stat st;
	int fd = openat(p->tree->dir, "a/file", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		_exit(1);
	begin();
	object_adopt(p->store, fd, &st, &key);
	close(fd);
}

// All or nothing: a whole object, or a private file that can be made one.
static void it_is_an_object_or_can_be_made_one(const struct pool *p)
{
	struct stat st;

	assert_content(p->tree, "a/file", "hello");
	if (status(p->tree, "a/file").st_nlink == 1)
		make_object(p, "a/file");
	int fd = object_open(p->store, &key, &st);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(st.st_ino, status(p->tree, "a/file").st_ino);
	assert_int_equal(st.st_nlink, 2);
}

static void a_file_that_becomes_an_object(void **state)
{
	static const struct scenario s = { given_no_object, adopt, it_is_an_object_or_can_be_made_one };
	disturb(*state, &s);
}

// The store itself

static void given_no_store(const struct pool *p)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s/.hash*", p->tree->path);
	assert_int_equal(system(command), 0);
}

static void create(const struct pool *p)
{
	begin();
	store_create(p->tree->dir);
}

static void there_is_a_store_or_one_can_be_made(const struct pool *p)
{
	struct store *s;

	// After a failure, not after a kill, an attempt leaves nothing.
	if (now.kind == FAIL && faccessat(p->tree->dir, ".hash", F_OK, 0) < 0)
		assert_int_equal(names_in(p->tree, "."), 0);
	int r = store_create(p->tree->dir);
	assert_true(r == 0 || r == -EEXIST);
	assert_int_equal(store_open(p->tree->dir, &s), 0);
	assert_false(s->copied);
	store_close(s);
}

static void a_store_that_is_made(void **state)
{
	static const struct scenario s = { given_no_store, create, there_is_a_store_or_one_can_be_made };
	disturb(*state, &s);
}

static void given_a_copied_store(const struct pool *p)
{
	char command[512];

	given_pair(p);
	snprintf(
		command, sizeof(command),
		"cd %s && mkdir copy && cp -a .hash a b copy && rm -r .hash a b && mv copy/.hash copy/* . && "
		"rmdir copy",
		p->tree->path);
	assert_int_equal(system(command), 0);
}

static void renew(const struct pool *p)
{
	struct store *s;

	if (store_open(p->tree->dir, &s) < 0)
		_exit(1);
	begin();
	store_renew(s);
	store_close(s);
}

static void it_is_renewed_or_can_be(const struct pool *p)
{
	struct store *s;
	struct stat st;

	assert_int_equal(store_open(p->tree->dir, &s), 0);
	if (s->copied)
		assert_int_equal(store_renew(s), 0);
	assert_false(s->copied);
	int fd = object_open(s, &key, &st);
	assert_true(fd >= 0);
	close(fd);
	store_close(s);
	assert_int_equal(st.st_ino, status(p->tree, "a/file").st_ino);
}

static void a_copied_store_that_is_renewed(void **state)
{
	static const struct scenario s = { given_a_copied_store, renew, it_is_renewed_or_can_be };
	disturb(*state, &s);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(a_file_that_is_replaced),
		in_pool(a_file_that_changed_before_the_exchange),
		in_pool(a_file_that_changed_afterwards),
		in_pool(a_recovery_that_has_a_file_to_drop),
		in_pool(a_recovery_that_has_a_file_to_put_back),
		in_pool(a_file_that_becomes_an_object),
		in_pool(a_store_that_is_made),
		in_pool(a_copied_store_that_is_renewed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
