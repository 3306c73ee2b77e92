#include "tests/support/twins.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/object.h"

struct twins given_twins(struct pool *p)
{
	struct twins w = { .p = p };
	struct stat st;

	put_old(p, "a/file", "hello");
	put_old(p, "b/file", "hello");
	w.key = make_object(p, "a/file");
	assert_int_equal(replacer_new(p->store, 0, &w.replacer), 0);
	w.object = object_open(p->store, &w.key, &st);
	assert_true(w.object >= 0);
	return w;
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

	int r = replacer_run(w->replacer, dir, strrchr(path, '/') + 1, path, &w->key, w->object, &claim);

	claim_drop(&claim);
	close(fd);
	close(dir);
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
