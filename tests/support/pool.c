#include "tests/support/pool.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/identity.h"
#include "store/mark.h"
#include "store/object.h"
#include "store/tmp.h"

int pool_setup(void **state)
{
	struct pool *p = calloc(1, sizeof(*p));
	void *tree = NULL;

	assert_non_null(p);
	claim_init();
	assert_int_equal(tree_setup(&tree), 0);
	p->tree = tree;
	assert_int_equal(store_create(p->tree->dir), 0);
	assert_int_equal(store_open(p->tree->dir, &p->store), 0);
	*state = p;
	return 0;
}

int pool_teardown(void **state)
{
	struct pool *p = *state;
	void *tree = p->tree;

	store_close(p->store);
	free(p);
	return tree_teardown(&tree);
}

struct object_key key_of(const struct pool *p, const char *path)
{
	struct xattr_set xattrs;
	struct stat st = status(p->tree, path);
	char *content = content_of(p->tree, path);
	int fd = open_read(p->tree, path);

	assert_int_equal(xattr_read(fd, &xattrs), 0);
	struct object_key key = {
		.digest = digest_of(p->store->seed, content, (size_t)st.st_size),
		.size = (uint64_t)st.st_size,
		.identity = identity_digest(p->store->seed, &st, &xattrs, 0),
	};
	xattr_free(&xattrs);
	close(fd);
	free(content);
	return key;
}

void put_old(const struct pool *p, const char *path, const char *content)
{
	const struct timespec times[2] = { { 1000000000, 1 }, { 1000000000, 123456789 } };

	put(p->tree, path, content);
	assert_int_equal(utimensat(p->tree->dir, path, times, 0), 0);
}

struct object_key make_object(const struct pool *p, const char *path)
{
	struct object_key key = key_of(p, path);
	struct stat st = status(p->tree, path);
	int fd = open_read(p->tree, path);

	assert_int_equal(object_adopt(p->store, fd, &st, &key), 0);
	close(fd);
	return key;
}

void remove_mark(const struct pool *p, const char *path)
{
	int fd = open_read(p->tree, path);
	assert_int_equal(mark_remove(p->store->marks, fd), 0);
	close(fd);
}

static int count_in_flight(const char *name, void *count)
{
	*(size_t *)count += strncmp(name, "journal-", 8) != 0;
	return 0;
}

size_t names_in_flight(const struct pool *p)
{
	size_t count = 0;

	assert_int_equal(tmp_each(p->store, count_in_flight, &count), 0);
	return count;
}
