#include "hashify/dircache.h"

#include "store/base/cleanup.h"
#include "store/base/list.h"
#include "store/base/map.h"

#include <errno.h>
#include <stdlib.h>

struct entry {
	struct list recent;
	uint64_t key;
	int fd;  // owned
};

struct dircache {
	const struct tree *trees;
	int pool;
	size_t capacity;
	struct map entries;
	struct list recent;  // the least recently used first
};

int dircache_new(const struct tree *trees, int pool, size_t capacity, struct dircache **ret)
{
	struct dircache *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->trees = trees;
	c->pool = pool;
	c->capacity = capacity < 2 ? 2 : capacity;
	list_init(&c->recent);
	*ret = c;
	return 0;
}

static void drop(struct dircache *c, struct entry *e)
{
	map_remove(&c->entries, e->key, e);
	list_remove(&e->recent);
	fd_close(e->fd);
	free(e);
}

void dircache_free(struct dircache *c)
{
	if (!c)
		return;
	list_each(p, &c->recent)
		drop(c, list_item(p, struct entry, recent));
	map_free(&c->entries);
	free(c);
}

static int add(struct dircache *c, uint64_t key, int fd)
{
	int r = map_reserve(&c->entries);
	if (r < 0)
		return r;
	struct entry *e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	*e = (struct entry){ .key = key, .fd = fd };
	map_add(&c->entries, key, e);
	list_add_tail(&c->recent, &e->recent);
	return 0;
}

int dircache_open(struct dircache *c, const struct tree_file *f)
{
	uint64_t key = (uint64_t)f->guest << 32 | f->dir;
	struct entry *e = map_find(&c->entries, key, NULL, NULL);
	if (e) {
		list_remove(&e->recent);
		list_add_tail(&c->recent, &e->recent);
		return e->fd;
	}

	while (c->entries.count >= c->capacity)
		drop(c, list_item(c->recent.next, struct entry, recent));
	auto_close int fd = tree_open_dir(&c->trees[f->guest], c->pool, f->dir);
	if (fd < 0)
		return fd;
	int r = add(c, key, fd);
	return r < 0 ? r : take_fd(&fd);
}
