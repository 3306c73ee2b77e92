// What becomes of nodes when names change: breaks, unlinks, renames.
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/file.h"
#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/number.h"
#include "fs/table.h"
#include "store/base/cleanup.h"

struct node *node_parent(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->table_lock);

	if (n->parent)
		n->parent->refs++;
	return n->parent;
}

void node_publishing(struct hashfs *fs, struct node *parent, bool begun)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->table_lock);
	parent->publishing = begun;
}

bool node_name_in(struct hashfs *fs, const struct node *n, const struct node *parent, char ret[256])
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->table_lock);

	if (!n->link || n->parent != parent)
		return false;
	strncpy(ret, n->name, 255);
	ret[255] = '\0';
	return true;
}

// Called under table_lock; the caller drops the reference that is returned.
static struct node *lose_name(struct node *n)
{
	struct node *parent = n->parent;

	free(n->name);
	n->name = NULL;
	n->parent = NULL;
	return parent;
}

void node_become_private(struct hashfs *fs, struct node *n, struct handle *at, int fd)
{
	mutex_lock(&fs->table_lock);
	struct node *parent = n->parent;
	if (parent) {
		number_drop_link(fs, n->key);
		number_set_inode(fs, at->dev, at->ino, n->ino);
		map_remove(&fs->nodes, n->key, n);
		parent->seq++;
		parent->publishing = false;
		lose_name(n);
	}

	mutex_lock(node_lock(fs, n));
	n->link = false;
	backing_deleted(fs, &n->at);
	handle_close(&n->at);
	n->at = *at;
	*at = HANDLE_NONE;
	list_each(p, &n->files) {
		// Only one thread breaks a node, and its files are closed under its lock: this cannot fail.
		int r = dup3(fd, list_item(p, struct file, item)->fd, O_CLOEXEC);
		assert(r >= 0);
	}
	mutex_unlock(node_lock(fs, n));

	if (parent)
		table_attach(fs, n, n->at.ino);
	mutex_unlock(&fs->table_lock);
	if (parent)
		node_put(fs, parent, 1);
}

void node_pin(struct hashfs *fs, struct node *n, int *fd)
{
	mutex_lock(&fs->table_lock);
	mutex_lock(node_lock(fs, n));
	handle_pin(&n->at, take_fd(fd));
	mutex_unlock(node_lock(fs, n));
	mutex_unlock(&fs->table_lock);
}

void node_unpin(struct hashfs *fs, struct node *n)
{
	mutex_lock(&fs->table_lock);
	mutex_lock(node_lock(fs, n));
	// A retired node is not found when its file loses its names, so nobody would pin it again.
	if (fs->handles && n->at.size > 0 && list_empty(&n->detached))
		handle_close(&n->at);
	mutex_unlock(node_lock(fs, n));
	mutex_unlock(&fs->table_lock);
}

static struct node *unlink_link(struct hashfs *fs, struct node *n)
{
	number_drop_link(fs, n->key);
	table_detach(fs, n);
	n->unlinked = true;
	backing_deleted(fs, &n->at);
	return lose_name(n);
}

void node_keep_nameless(const struct hashfs *fs, struct node *n, const struct stat *st, int *fd)
{
	if (*fd < fs->most_pins) {
		handle_pin(&n->at, take_fd(fd));
		return;
	}
	if (!n->last)
		n->last = malloc(sizeof(*n->last));
	if (!n->last)
		return;
	*n->last = *st;
	n->last->st_nlink = 0;
}

static void keep_nameless(struct hashfs *fs, struct node *n, const struct stat *st, int *fd)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	node_keep_nameless(fs, n, st, fd);
}

void node_lost_link(struct hashfs *fs, struct node *n)
{
	struct node *parent = unlink_link(fs, n);

	assert(parent->refs > 1);
	parent->refs--;
	parent->seq++;
}

static void unlink_inode(struct hashfs *fs, const struct stat *st, int *fd)
{
	struct handle at = { .ino = st->st_ino, .dev = st->st_dev, .fd = -1 };
	// The inode is open as *@fd: no other can have its number.
	struct node *n = table_find_inode(fs, &at);

	number_drop_inode(fs, st->st_dev, st->st_ino);
	if (!n)
		return;
	n->unlinked = true;
	table_detach(fs, n);  // a new file may get this inode's number
	keep_nameless(fs, n, st, fd);
	backing_deleted(fs, &n->at);
}

void node_unlinked(struct hashfs *fs, struct node *parent, const char *name, const struct stat *st, int *fd)
{
	struct node *dropped = NULL;

	mutex_lock(&fs->table_lock);
	parent->seq++;
	struct node *n = table_find_link(fs, number_name_key(fs, &parent->at, name), parent, name);
	if (n) {
		dropped = unlink_link(fs, n);
		// The last one, once gc has removed the object's. Not if somebody else has put a file there
		// (cache=).
		if (n->at.ino == st->st_ino && n->at.dev == st->st_dev)
			keep_nameless(fs, n, st, fd);
	} else if (S_ISDIR(st->st_mode) || st->st_nlink == 0) {
		unlink_inode(fs, st, fd);
	}
	mutex_unlock(&fs->table_lock);

	if (dropped)
		node_put(fs, dropped, 1);
}

// A link between its two names.
struct moving {
	struct node *n;  // NULL: there is none
	uint64_t number;
};

static struct moving take_off(struct hashfs *fs, const struct node_name *from)
{
	uint64_t key = number_name_key(fs, &from->parent->at, from->name);
	struct moving m = { table_find_link(fs, key, from->parent, from->name), number_of_link(fs, key) };

	number_drop_link(fs, key);
	if (m.n)
		map_remove(&fs->nodes, key, m.n);
	return m;
}

static struct node *put_on(struct hashfs *fs, struct moving m, struct node_name *to)
{
	if (!m.n)
		return NULL;

	uint64_t key = number_name_key(fs, &to->parent->at, to->name);
	struct node *dropped = lose_name(m.n);

	number_set_link(fs, key, m.number);
	m.n->parent = to->parent;
	to->parent->refs++;
	m.n->name = to->copy;
	to->copy = NULL;
	table_attach(fs, m.n, key);
	return dropped;
}

void node_renamed(struct hashfs *fs, struct node_name *from, struct node_name *to, bool exchange)
{
	struct moving back = { 0 };

	mutex_lock(&fs->table_lock);
	struct moving moved = take_off(fs, from);
	if (exchange)
		back = take_off(fs, to);
	struct node *dropped = put_on(fs, moved, to);
	struct node *dropped_back = put_on(fs, back, from);
	from->parent->seq++;
	to->parent->seq++;
	mutex_unlock(&fs->table_lock);

	if (dropped)
		node_put(fs, dropped, 1);
	if (dropped_back)
		node_put(fs, dropped_back, 1);
}
