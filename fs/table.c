#include "fs/table.h"

#include <string.h>

#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/number.h"

struct link_match {
	const struct node *parent;
	const char *name;
};

static bool is_link_of(const void *value, const void *arg)
{
	const struct node *n = value;
	const struct link_match *m = arg;

	return n->link && n->parent == m->parent && strcmp(n->name, m->name) == 0;
}

// Reads the handle without node_lock(): whoever changes one holds table_lock as well.
static bool is_inode(const void *value, const void *at)
{
	const struct node *n = value;
	return !n->link && handle_same(&n->at, at);
}

struct node *table_find_link(struct hashfs *fs, uint64_t key, const struct node *parent, const char *name)
{
	struct link_match m = { parent, name };
	return map_find(&fs->nodes, key, is_link_of, &m);
}

struct node *table_find_inode(struct hashfs *fs, const struct handle *at)
{
	return map_find(&fs->nodes, at->ino, is_inode, at);
}

void table_detach(struct hashfs *fs, struct node *n)
{
	if (!list_empty(&n->detached))
		return;
	map_remove(&fs->nodes, n->key, n);
	list_add_tail(&fs->detached, &n->detached);
}

void table_retire(struct hashfs *fs, struct node *n)
{
	table_detach(fs, n);
	map_add(&fs->retired, n->key, n);
}

bool table_is_retired(const struct hashfs *fs, const struct handle *at)
{
	return map_find(&fs->retired, at->ino, is_inode, at) != NULL;
}

static bool is_itself(const void *value, const void *n)
{
	return value == n;
}

void table_remove(struct hashfs *fs, struct node *n)
{
	table_detach(fs, n);
	list_remove(&n->detached);
	if (map_find(&fs->retired, n->key, is_itself, n))
		map_remove(&fs->retired, n->key, n);
}

void table_attach(struct hashfs *fs, struct node *n, uint64_t key)
{
	list_remove(&n->detached);
	n->key = key;
	map_add(&fs->nodes, key, n);
}
