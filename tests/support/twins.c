#include "tests/support/twins.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/object.h"
#include "store/xattr.h"
#include "tests/support/fault.h"

int twins_open(const struct pool *p, const struct object_key *key, struct twins *ret)
{
	struct twins w = { .p = p, .key = *key };
	struct stat st;

	int r = replacer_new(p->store, 0, TWINS_WAITING, &w.replacer);
	if (r < 0)
		return r;
	w.object = object_open(p->store, key, &st);
	if (w.object < 0) {
		replacer_free(w.replacer);
		return w.object;
	}
	*ret = w;
	return 0;
}

struct object_key put_twins(const struct pool *p)
{
	put_old(p, "a/file", "hello");
	put_old(p, "b/file", "hello");
	return make_object(p, "a/file");
}

struct twins given_twins(const struct pool *p)
{
	struct twins w;
	struct object_key key = put_twins(p);

	twins_await_writers();
	assert_int_equal(twins_open(p, &key, &w), 0);
	return w;
}

int twins_run(struct twins *w, int dir, const char *path, struct claim *claim)
{
	struct stat st;
	struct xattr_set xattrs;
	const struct victim v = {
		.dir = dir,
		.name = strrchr(path, '/') + 1,
		.path = path,
		.xattrs = &xattrs,
		.claim = claim,
	};

	if (fstat(w->object, &st) < 0)
		return -errno;
	int r = xattr_read(claim->fd, &xattrs);
	if (r < 0)
		return r;
	r = replacer_run(w->replacer, &v, &w->key, w->object, st.st_ino);
	xattr_free(&xattrs);
	return r;
}

int twins_replace(struct twins *w, const char *path)
{
	struct tree *t = w->p->tree;
	struct claim claim;
	char dir_name[64];

	snprintf(dir_name, sizeof(dir_name), "%.*s", (int)(strrchr(path, '/') - path), path);
	int dir = openat(t->dir, dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = open_read(t, path);
	assert_int_equal(claim_take(fd, &claim), 0);

	int r = twins_run(w, dir, path, &claim);

	claim_end(&claim);
	close(dir);
	return r;
}

int twins_replace_and_put_back(struct twins *w, void (*run)(void *arg))
{
	const struct tree *t = w->p->tree;
	struct claim claim;
	assert_int_equal(claim_take(open_read(t, "b/file"), &claim), 0);
	claim_drop(&claim);
	int dir = openat(t->dir, "b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	fault_before("renameat2", 2, run, w->p->tree);
	int r = twins_run(w, dir, "b/file", &claim);

	assert_true(fault_was_met());
	close(dir);
	claim_end(&claim);
	return r;
}

// Shared with them, as they may outlive who began them.
static atomic_int *writers;

static void write_in_a_child(int fd)
{
	dup2(fd, 3);
	close_range(4, ~0U, 0);  // those of our leases
	int late = open("/proc/self/fd/3", O_WRONLY | O_CLOEXEC);
	bool written = late >= 0 && write(late, "HELLO", 5) == 5;
	atomic_fetch_sub(writers, 1);
	_exit(!written);
}

// By system calls that are not disturbed.
static bool is_being_opened(int fd)
{
	if (syscall(SYS_fcntl, fd, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN;
	syscall(SYS_fcntl, fd, F_SETLEASE, F_UNLCK);
	return false;
}

void twins_write_late(int fd)
{
	atomic_fetch_add(writers, 1);
	pid_t child = fork();
	if (child == 0)
		write_in_a_child(fd);
	while (atomic_load(writers) > 0 && !is_being_opened(fd))
		sched_yield();
}

void twins_await_writers(void)
{
	if (!writers)
		writers = mmap(NULL, sizeof(*writers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			       0);
	while (atomic_load(writers) > 0)
		sched_yield();
}

uint64_t twins_flush(struct twins *w)
{
	struct replacer_done done;
	assert_int_equal(replacer_flush(w->replacer, &done), 0);
	twins_await_writers();
	return done.put_back;
}

void twins_done(struct twins *w)
{
	assert_int_equal(replacer_free(w->replacer), 0);
	close(w->object);
}

ino_t twins_inode(const struct twins *w, const char *path)
{
	return status(w->p->tree, path).st_ino;
}

bool twins_linked(const struct twins *w, const char *path)
{
	return twins_inode(w, path) == twins_inode(w, "a/file");
}
