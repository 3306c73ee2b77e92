// Descriptors: opened beneath a directory and nowhere else, read and written whole.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/sys.h"
#include "tests/support/tree.h"

static int opened(const struct tree *t, const char *path, int flags)
{
	auto_close int fd = beneath_open(t->dir, path, flags, 0);
	return fd < 0 ? fd : 0;
}

static void only_what_lies_beneath_is_opened(void **state)
{
	struct tree *t = *state;
	put(t, "a/file", "hello");
	assert_int_equal(symlinkat("file", t->dir, "a/link"), 0);
	assert_int_equal(symlinkat("a", t->dir, "directory"), 0);

	assert_int_equal(opened(t, "a/file", O_RDONLY), 0);
	assert_int_equal(opened(t, "a/../a/file", O_RDONLY), 0);
	assert_int_equal(opened(t, "../etc/passwd", O_RDONLY), -EXDEV);
	assert_int_equal(opened(t, "a/../../x", O_RDONLY), -EXDEV);
	assert_int_equal(opened(t, "/etc/passwd", O_RDONLY), -EXDEV);
	assert_int_equal(opened(t, "a/link", O_RDONLY), -ELOOP);
	assert_int_equal(opened(t, "directory/file", O_RDONLY), -ELOOP);
	assert_int_equal(opened(t, "a/link", O_PATH | O_NOFOLLOW), 0);
	assert_int_equal(opened(t, "a/none", O_RDONLY), -ENOENT);
}

// The kernel takes a lease away after 45 s, and a guest may hold any number.
static void a_file_under_a_lease_is_not_waited_for(void **state)
{
	struct tree *t = *state;
	put(t, "file", "hello");
	auto_close int fd = openat(t->dir, "file", O_RDWR | O_CLOEXEC);
	signal(SIGIO, SIG_IGN);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);

	alarm(20);
	assert_int_equal(opened(t, "file", O_RDONLY | O_NONBLOCK), -EAGAIN);
	alarm(0);
}

// Not even to look at it: a FIFO stands for the devices, which only root could make here.
static void nothing_but_a_regular_file_is_opened_to_read(void **state)
{
	struct tree *t = *state;
	put(t, "a/file", "hello");
	assert_int_equal(mkfifoat(t->dir, "fifo", 0600), 0);
	assert_int_equal(symlinkat("a/file", t->dir, "link"), 0);
	auto_close int seen = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	assert_true(inotify_add_watch(seen, t->path, IN_OPEN) >= 0);
	struct inotify_event event;

	assert_int_equal(beneath_open_file(t->dir, "fifo"), -ENXIO);
	assert_int_equal(beneath_open_file(t->dir, "a"), -ENXIO);
	assert_int_equal(beneath_open_file(t->dir, "link"), -ELOOP);
	assert_int_equal(beneath_open_file(t->dir, "none"), -ENOENT);
	assert_true(read(seen, &event, sizeof(event)) < 0 && errno == EAGAIN);

	auto_close int fd = beneath_open_file(t->dir, "a/file");
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void a_mount_is_not_crossed(void **state)
{
	(void)state;
	auto_close int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_close int fd = beneath_open(root, "proc/self", O_RDONLY, 0);

	assert_int_equal(fd, -EXDEV);
}

static void descriptors_close_on_exec(void **state)
{
	struct tree *t = *state;
	put(t, "file", "hello");
	auto_close int fd = beneath_open(t->dir, "file", O_RDONLY, 0);

	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void a_read_is_short_only_at_the_end(void **state)
{
	struct tree *t = *state;
	char data[16];
	put(t, "file", "hello");
	auto_close int fd = open_read(t, "file");

	assert_int_equal(fd_pread_all(fd, data, sizeof(data), 0), 5);
	assert_int_equal(fd_pread_all(fd, data, 2, 1), 2);
	assert_memory_equal(data, "el", 2);
	assert_int_equal(fd_pread_all(fd, data, sizeof(data), 5), 0);
	assert_int_equal(fd_pread_all(-1, data, sizeof(data), 0), -EBADF);
}

static void a_write_is_whole_or_an_error(void **state)
{
	struct tree *t = *state;
	put(t, "file", "hello");
	auto_close int fd = openat(t->dir, "file", O_WRONLY | O_CLOEXEC);

	assert_int_equal(fd_pwrite_all(fd, "J", 1, 0), 0);
	assert_int_equal(fd_pwrite_all(fd, "!", 1, 5), 0);
	assert_content(t, "file", "Jello!");
	auto_close int reader = open_read(t, "file");
	assert_int_equal(fd_pwrite_all(reader, "x", 1, 0), -EBADF);
}

static void a_double_close_aborts(void **state)
{
	(void)state;
	int status_;
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit none = { 0 };
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		int fd = dup(0);
		fd_close(fd);
		fd_close(fd);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status_, 0), child);
	assert_true(WIFSIGNALED(status_) && WTERMSIG(status_) == SIGABRT);
}

static void a_taken_fd_is_the_taker_s(void **state)
{
	(void)state;
	int kept;
	{
		auto_close int fd = dup(0);
		kept = take_fd(&fd);
		assert_int_equal(fd, -1);
	}
	assert_true(fcntl(kept, F_GETFD) >= 0);
	fd_close(kept);
}

static void the_mode_of_an_o_path_fd_can_be_set(void **state)
{
	struct tree *t = *state;
	put(t, "file", "hello");
	auto_close int fd = openat(t->dir, "file", O_PATH | O_CLOEXEC);

	assert_int_equal(sys_fchmod(fd, 0600), 0);
	assert_int_equal(status(t, "file").st_mode & 07777, 0600);
}

static void cached_pages_are_counted(void **state)
{
	struct tree *t = *state;
	put(t, "file", "hello");
	auto_close int fd = open_read(t, "file");

	assert_true(sys_cached_pages(fd, 5) > 0);  // just written
	assert_true(sys_cached_pages(fd, 0) >= 0);
}

#define in_tree(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_tree(only_what_lies_beneath_is_opened),
		in_tree(a_mount_is_not_crossed),
		in_tree(nothing_but_a_regular_file_is_opened_to_read),
		in_tree(descriptors_close_on_exec),
		in_tree(a_read_is_short_only_at_the_end),
		in_tree(a_write_is_whole_or_an_error),
		in_tree(a_double_close_aborts),
		in_tree(a_taken_fd_is_the_taker_s),
		in_tree(the_mode_of_an_o_path_fd_can_be_set),
		in_tree(cached_pages_are_counted),
		in_tree(a_file_under_a_lease_is_not_waited_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
