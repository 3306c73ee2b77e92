// What a link has displaced waits until nobody can write to it any more: then it goes, or comes back.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/base/fd.h"
#include "store/base/thread.h"
#include "store/displaced.h"
#include "tests/support/fault.h"
#include "tests/support/twins.h"

// A clock that can be stopped: then only sleeping lets time pass.
static bool is_stopped;
static struct timespec stopped_at;
static unsigned sleeps;
static int chmod_at_third = -1;  // an fd whose mode is set in the third sleep

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (!is_stopped)
		return (int)syscall(SYS_clock_gettime, clock, ret);
	*ret = stopped_at;
	return 0;
}

int nanosleep(const struct timespec *pause, struct timespec *left)
{
	if (!is_stopped)
		return (int)syscall(SYS_nanosleep, pause, left);
	if (++sleeps == 3 && chmod_at_third >= 0)
		fchmod(chmod_at_third, 0600);
	stopped_at.tv_sec += pause->tv_sec;
	stopped_at.tv_nsec += pause->tv_nsec;
	stopped_at.tv_sec += stopped_at.tv_nsec / 1000000000;
	stopped_at.tv_nsec %= 1000000000;
	return 0;
}

static void stop_clock(void)
{
	clock_gettime(CLOCK_MONOTONIC, &stopped_at);
	sleeps = 0;
	is_stopped = true;
}

static void who_waits_to_write_gets_the_file_put_back(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file");
	int reader = open_read(w.p->tree, "b/file");

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	assert_true(twins_linked(&w, "b/file"));
	twins_write_late(reader);
	assert_true(twins_linked(&w, "b/file"));  // so he waits
	close(reader);

	assert_int_equal(twins_flush(&w), 1);
	assert_int_equal(twins_inode(&w, "b/file"), before);
	assert_content(w.p->tree, "b/file", "HELLO");
	assert_content(w.p->tree, "a/file", "hello");
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

// Whatever he does to the times.
static void nobody_writes_to_a_displaced_file(void **state)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	assert_true(open(fd_path(reader).text, O_WRONLY | O_NONBLOCK | O_CLOEXEC) < 0);
	assert_int_equal(errno, EAGAIN);
	close(reader);
	twins_done(&w);
}

static void set_an_xattr_and_close(void *arg)
{
	const int *reader = arg;
	assert_int_equal(fsetxattr(*reader, "user.test", "x", 1, 0), 0);
	close(*reader);
}

// Where the ctime does not tell.
static void an_xattr_that_is_set_late_is_no_more_lost_than_a_write(void **state)
{
	struct twins w = given_twins(*state);
	ino_t before = twins_inode(&w, "b/file");
	int reader = open_read(w.p->tree, "b/file");

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	fault_after("fstat", 1, set_an_xattr_and_close, &reader);  // when the ctime has been looked at
	assert_int_equal(twins_flush(&w), 1);

	assert_true(fault_was_met());
	assert_int_equal(twins_inode(&w, "b/file"), before);
	twins_done(&w);
}

static void a_path_longer_than_the_kernel_takes_is_put_back(void **state)
{
	struct twins w = given_twins(*state);
	struct tree *t = w.p->tree;
	char part[201] = { 0 };
	char *path = calloc(1, 8192);
	int dir = openat(t->dir, "b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memset(part, 'd', sizeof(part) - 1);
	strcpy(path, "b");
	for (int i = 0; i < 30; i++) {
		assert_int_equal(mkdirat(dir, part, 0755), 0);
		int next = openat(dir, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(dir);
		dir = next;
		strcat(strcat(path, "/"), part);
	}
	strcat(path, "/file");
	assert_int_equal(renameat(t->dir, "b/file", dir, "file"), 0);
	int fd = openat(dir, "file", O_RDONLY | O_CLOEXEC);
	struct claim claim;
	assert_int_equal(claim_take(fd, &claim), 0);

	assert_int_equal(twins_run(&w, dir, path, &claim), REPLACED);
	twins_write_late(fd);
	assert_int_equal(twins_flush(&w), 1);

	struct stat st;
	assert_int_equal(fstatat(dir, "file", &st, 0), 0);
	assert_int_equal(st.st_ino, claim.st.st_ino);
	close(dir);
	free(path);
	twins_done(&w);
}

static void replace_many(struct twins *w, int from, int to)
{
	char path[32];

	for (int i = from; i < to; i++) {
		snprintf(path, sizeof(path), "b/file%d", i);
		put_old(w->p, path, "hello");
		assert_int_equal(twins_replace(w, path), REPLACED);
	}
}

static void no_more_files_wait_than_there_is_room_for(void **state)
{
	struct twins w = given_twins(*state);
	stop_clock();

	replace_many(&w, 0, TWINS_WAITING);
	assert_int_equal(sleeps, 0);
	assert_int_equal(names_in_flight(w.p), TWINS_WAITING);
	replace_many(&w, TWINS_WAITING,
		     TWINS_WAITING + 1);  // waits for the first; the others are as old then
	assert_int_equal(sleeps, 1);
	assert_int_equal(names_in_flight(w.p), TWINS_WAITING);
	replace_many(&w, TWINS_WAITING + 1, TWINS_WAITING + 2);
	is_stopped = false;

	assert_int_equal(names_in_flight(w.p), 2);
	twins_done(&w);
	assert_int_equal(names_in(w.p->tree, ".hash/tmp"), 0);
	assert_int_equal(status(w.p->tree, "a/file").st_nlink, TWINS_WAITING + 4);
}

static void who_writes_late_gets_it_put_back_though_many_came_after(void **state)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");
	stop_clock();

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	replace_many(&w, 0, TWINS_WAITING - 1);
	twins_write_late(reader);
	close(reader);
	replace_many(&w, TWINS_WAITING - 1, TWINS_WAITING + 2);
	is_stopped = false;

	assert_int_equal(twins_flush(&w), 1);
	assert_content(w.p->tree, "b/file", "HELLO");
	assert_int_equal(twins_flush(&w), 0);
	twins_done(&w);
}

// A descriptor that is open for reading alone: a lease tells nothing of what is done by it to the inode.
static void who_has_it_open_is_waited_for(void **state)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");
	ino_t before = twins_inode(&w, "b/file");
	stop_clock();

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	chmod_at_third = reader;
	assert_int_equal(twins_flush(&w), 1);
	chmod_at_third = -1;
	is_stopped = false;

	assert_int_equal(sleeps, 3);
	assert_int_equal(twins_inode(&w, "b/file"), before);
	assert_int_equal(status(w.p->tree, "b/file").st_mode & 07777, 0600);
	assert_int_equal(status(w.p->tree, "a/file").st_mode & 07777, 0644);
	close(reader);
	twins_done(&w);
}

static void who_has_it_open_for_ever_is_not_waited_for(void **state)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");
	stop_clock();
	struct timespec start = stopped_at;

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	replace_many(&w, 0, 3);
	assert_int_equal(twins_flush(&w), 0);
	is_stopped = false;

	assert_in_range(stopped_at.tv_sec - start.tv_sec, 1, 2);
	assert_true(twins_linked(&w, "b/file"));
	assert_int_equal(names_in_flight(w.p), 0);
	close(reader);
	twins_done(&w);
}

// The grace period is over for a file when it is over for that file.
static void nothing_is_dropped_before_its_time(void **state)
{
	struct twins w = given_twins(*state);
	const struct timespec part = { .tv_nsec = 19000000 }, rest = { .tv_nsec = 1000000 };
	stop_clock();

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	nanosleep(&part, NULL);
	replace_many(&w, 0, 1);
	assert_int_equal(names_in_flight(w.p), 2);
	nanosleep(&rest, NULL);
	replace_many(&w, 1, 2);
	assert_int_equal(names_in_flight(w.p), 2);
	assert_int_equal(twins_flush(&w), 0);
	is_stopped = false;

	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

#define WORKERS 4

struct worker {
	pthread_t thread;
	struct twins twins;
	unsigned number;
};

// A worker asserts nothing: cmocka knows one thread.
static void *replace_as_worker(void *arg)
{
	struct worker *w = arg;
	struct claim claim;
	char path[32];

	if (replacer_new(w->twins.p->store, w->number, TWINS_WAITING, &w->twins.replacer) < 0)
		return NULL;
	for (unsigned i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "b/file%u", (w->number - 1) * 100 + i);
		int dir = openat(w->twins.p->tree->dir, "b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int fd = openat(w->twins.p->tree->dir, path, O_RDONLY | O_CLOEXEC);
		if (claim_take(fd, &claim) == 0) {
			twins_run(&w->twins, dir, path, &claim);
			claim_end(&claim);
		} else {
			close(fd);
		}
		close(dir);
	}
	return replacer_free(w->twins.replacer) == 0 ? arg : NULL;
}

static void workers_do_not_get_into_each_other_s_way(void **state)
{
	struct twins w = given_twins(*state);
	struct worker workers[WORKERS];
	char path[32];
	for (int i = 0; i < WORKERS * 100; i++) {
		snprintf(path, sizeof(path), "b/file%d", i);
		put_old(w.p, path, "hello");
	}

	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .twins = w, .number = i + 1 };
		assert_int_equal(thread_start(&workers[i].thread, "worker", replace_as_worker, &workers[i]),
				 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		thread_join(workers[i].thread);

	assert_int_equal(status(w.p->tree, "a/file").st_nlink, 2 + WORKERS * 100);
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

static void what_cannot_be_put_back_is_tried_again(void **state)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	twins_write_late(reader);
	close(reader);
	fault_next("renameat2", EIO);
	assert_int_equal(twins_flush(&w), 0);
	assert_true(fault_was_met());
	assert_int_equal(twins_flush(&w), 1);

	assert_content(w.p->tree, "b/file", "HELLO");
	assert_content(w.p->tree, "a/file", "hello");
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

// Until the limit that is returned is set again.
static struct rlimit forbid_new_descriptors(void)
{
	struct rlimit was, now;
	int next = dup(0);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = (struct rlimit){ (rlim_t)next, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	close(next);
	return was;
}

static void what_cannot_be_put_back_keeps_its_journal(void **state)
{
	struct twins w = given_twins(*state);
	int reader = open_read(w.p->tree, "b/file");
	struct recovery recovery;

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	twins_write_late(reader);
	close(reader);
	const struct rlimit was = forbid_new_descriptors();
	int r = replacer_free(w.replacer);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(r, -EMFILE);
	twins_await_writers();
	close(w.object);

	assert_int_equal(replace_recover(w.p->store, &recovery), 0);
	assert_int_equal(recovery.put_back, 1);
	assert_content(w.p->tree, "b/file", "HELLO");
	assert_content(w.p->tree, "a/file", "hello");
}

static void replace_locked(struct pool *p, bool (*lock)(int fd))
{
	struct twins w = given_twins(p);
	int holder = open_read(w.p->tree, "b/file");

	assert_true(lock(holder));
	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	assert_int_equal(twins_flush(&w), 1);
	assert_false(twins_linked(&w, "b/file"));
	close(holder);
	twins_done(&w);
}

static bool lock_whole(int fd)
{
	return flock(fd, LOCK_SH) == 0;
}

static bool lock_range(int fd)
{
	struct flock part = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 1 };
	return fcntl(fd, F_OFD_SETLK, &part) == 0;
}

static void what_somebody_has_locked_is_put_back(void **state)
{
	replace_locked(*state, lock_whole);
}

static void and_what_has_a_locked_part(void **state)
{
	replace_locked(*state, lock_range);
}

static void what_waits_longer_than_it_must_is_dropped_meanwhile(void **state)
{
	struct twins w = given_twins(*state);

	assert_int_equal(twins_replace(&w, "b/file"), REPLACED);
	assert_int_equal(names_in_flight(w.p), 1);
	usleep(DISPLACED_GRACE_NSEC / 1000);
	replacer_tidy(w.replacer);
	assert_int_equal(names_in_flight(w.p), 0);
	twins_done(&w);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(who_waits_to_write_gets_the_file_put_back),
		in_pool(nobody_writes_to_a_displaced_file),
		in_pool(an_xattr_that_is_set_late_is_no_more_lost_than_a_write),
		in_pool(no_more_files_wait_than_there_is_room_for),
		in_pool(who_writes_late_gets_it_put_back_though_many_came_after),
		in_pool(who_has_it_open_is_waited_for),
		in_pool(who_has_it_open_for_ever_is_not_waited_for),
		in_pool(nothing_is_dropped_before_its_time),
		in_pool(a_path_longer_than_the_kernel_takes_is_put_back),
		in_pool(workers_do_not_get_into_each_other_s_way),
		in_pool(what_cannot_be_put_back_is_tried_again),
		in_pool(what_cannot_be_put_back_keeps_its_journal),
		in_pool(what_somebody_has_locked_is_put_back),
		in_pool(and_what_has_a_locked_part),
		in_pool(what_waits_longer_than_it_must_is_dropped_meanwhile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
