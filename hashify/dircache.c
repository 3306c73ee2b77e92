#include "hashify/dircache.h"

#include "store/base/cleanup.h"
#include "store/base/list.h"
#include "store/base/map.h"

#include <errno.h>
#include <stdlib.h>

// A path of more levels than this from a directory that is open costs about as much as opening two: the one
// above is kept as well then, and all in it are near. In a chain of directories each has the next one near.
#define FAR 16

// What one call uses at most: a directory above, the parent, the directory; and the one of the call before.
#define MIN_CAPACITY 4

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
	c->capacity = capacity < MIN_CAPACITY ? MIN_CAPACITY : capacity;
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

static struct entry *find(struct dircache *c, uint32_t guest, uint32_t dir)
{
	struct entry *e = map_find(&c->entries, (uint64_t)guest << 32 | dir, NULL, NULL);
	if (e) {
		list_remove(&e->recent);
		list_add_tail(&c->recent, &e->recent);
	}
	return e;
}

static int add(struct dircache *c, uint64_t key, int fd)
{
	while (c->entries.count >= c->capacity)
		drop(c, list_item(c->recent.next, struct entry, recent));
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

// The nearest directory above @dir that is open, @ret_levels up from it; NULL: none is.
static const struct entry *find_above(struct dircache *c, uint32_t guest, uint32_t dir, unsigned *ret_levels)
{
	const struct entry *above = NULL;
	unsigned levels = 0;
	for (; !above && dir != 0; levels++) {
		dir = c->trees[guest].dirs[dir].parent;
		above = find(c, guest, dir);
	}
	*ret_levels = levels;
	return above;
}

// @above is open; NULL: nothing above @dir is.
static int open_and_keep(struct dircache *c, uint32_t guest, uint32_t dir, const struct entry *above)
{
	const struct tree *t = &c->trees[guest];
	auto_close int fd = above ? tree_open_below(t, above->fd, (uint32_t)above->key, dir)
				  : tree_open_dir(t, c->pool, dir);
	if (fd < 0)
		return fd;
	int r = add(c, (uint64_t)guest << 32 | dir, fd);
	return r < 0 ? r : take_fd(&fd);
}

int dircache_open(struct dircache *c, const struct tree_file *f)
{
	const struct entry *e = find(c, f->guest, f->dir);
	if (e)
		return e->fd;

	unsigned levels;
	const struct entry *above = find_above(c, f->guest, f->dir, &levels);
	if (levels > FAR) {
		uint32_t parent = c->trees[f->guest].dirs[f->dir].parent;
		int r = open_and_keep(c, f->guest, parent, above);
		if (r < 0)
			return r;
		above = find(c, f->guest, parent);
	}
	return open_and_keep(c, f->guest, f->dir, above);
}
