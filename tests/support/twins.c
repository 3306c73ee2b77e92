#include "tests/support/twins.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

uint64_t twins_flush(struct twins *w)
{
	uint64_t put_back;
	assert_int_equal(replacer_flush(w->replacer, &put_back), 0);
	return put_back;
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
