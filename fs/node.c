#include "fs/node.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/dirs.h"
#include "fs/file.h"
#include "fs/fuse.h"
#include "fs/hashfs.h"
#include "fs/notify.h"
#include "fs/number.h"
#include "fs/table.h"
#include "store/base/cleanup.h"
#include "store/store.h"

// Not an errno: a name was replaced between our look at it and our use of what we saw.
#define LOOK_AGAIN 1

// What a look-up found in the backing filesystem.
struct found {
	struct stat st;
	struct handle at;  // owned until a node takes it
	bool link;
	bool listed;  // by readdir: nobody asked for this name
};

pthread_mutex_t *node_lock(struct hashfs *fs, const struct node *n)
{
	return &fs->node_locks[map_spread((uintptr_t)n) % NODE_LOCKS];
}

// Creation and end

static void destroy(struct hashfs *fs, struct node *n)
{
	if (n->names) {
		dirs_forget(fs, n);
		mutex_destroy(n->names);
		free(n->names);
	}
	if (n->backing)
		backing_put(fs, n->backing);
	assert(list_empty(&n->files));
	handle_close(&n->at);
	free(n->last);
	free(n->name);
	free(n);
}

static struct node *make(struct found *f)
{
	struct node *n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;

	if (S_ISDIR(f->st.st_mode)) {
		n->names = malloc(sizeof(*n->names));
		if (!n->names) {
			free(n);
			return NULL;
		}
		mutex_init(n->names);
	}
	list_init(&n->files);
	list_init(&n->detached);
	n->refs = 1;
	n->type = f->st.st_mode & S_IFMT;
	n->at = f->at;
	f->at = HANDLE_NONE;
	return n;
}

static struct node *add_inode(struct hashfs *fs, struct found *f)
{
	if (map_reserve(&fs->nodes) < 0)
		return NULL;

	struct node *n = make(f);
	if (!n)
		return NULL;

	n->ino = number_of_inode(fs, n->at.dev, n->at.ino);
	n->shadowed = table_is_retired(fs, &n->at);
	table_attach(fs, n, n->at.ino);
	return n;
}

static struct node *add_link(struct hashfs *fs, struct found *f, uint64_t key, struct node *parent,
			     const char *name)
{
	if (map_reserve(&fs->nodes) < 0)
		return NULL;

	auto_free char *copy = strdup(name);
	struct node *n = copy ? make(f) : NULL;
	if (!n)
		return NULL;

	n->link = true;
	n->name = copy;
	copy = NULL;
	n->parent = parent;
	parent->refs++;
	n->ino = number_of_link(fs, key);
	table_attach(fs, n, key);
	return n;
}

uint64_t node_id(const struct hashfs *fs, const struct node *n)
{
	return n == fs->root ? FUSE_ROOT_ID : (uintptr_t)n;
}

struct node *node_of(const struct hashfs *fs, uint64_t id)
{
	return id == FUSE_ROOT_ID ? fs->root : (struct node *)(uintptr_t)id;
}

// Below that it is not worth the time.
#define MANY_NODES 65536

// Called under table_lock, when a node has gone. Has the kernel forgotten most of what there was?
static bool most_are_gone(struct hashfs *fs)
{
	return fs->nodes.capacity >= MANY_NODES && map_shrink(&fs->nodes);
}

void node_put(struct hashfs *fs, struct node *n, uint64_t count)
{
	bool trim = false;

	mutex_lock(&fs->table_lock);
	assert(n->refs >= count);
	n->refs -= count;
	bool last = n->refs == 0;
	if (last) {
		table_remove(fs, n);
		trim = most_are_gone(fs);
	}
	mutex_unlock(&fs->table_lock);

	if (!last)
		return;
	struct node *parent = n->parent;
	destroy(fs, n);
	if (parent)
		node_put(fs, parent, 1);
	if (trim)
		malloc_trim(0);  // by itself it gives back no more than the end of the heap
}

static void collect(void *value, void *arg)
{
	struct node *n = value;
	list_add_tail(arg, &n->detached);
}

static void free_list(struct hashfs *fs, struct list *nodes)
{
	list_each(p, nodes) {
		struct node *n = list_item(p, struct node, detached);
		list_each(q, &n->files) {
			struct file *f = list_item(q, struct file, item);
			fd_close(f->fd);
			list_remove(&f->item);
			free(f);
		}
		destroy(fs, n);
	}
}

void node_free_all(struct hashfs *fs)
{
	map_each(&fs->nodes, collect, &fs->detached);
	free_list(fs, &fs->detached);
	map_free(&fs->nodes);
	map_free(&fs->retired);
	number_free_all(fs);
}

// Looking up

static bool is_hidden(const struct hashfs *fs, const struct stat *st)
{
	return S_ISDIR(st->st_mode) && st->st_ino == fs->store->ino && st->st_dev == fs->store->dev;
}

// Finds out what @*fd is; takes it where it must be kept.
static int examine(struct hashfs *fs, int *fd, struct found *ret)
{
	ret->at = HANDLE_NONE;
	if (fstat(*fd, &ret->st) < 0)
		return -errno;
	if (is_hidden(fs, &ret->st))
		return -ENOENT;

	int r = mark_is_link(fs->store->marks, *fd, &ret->st);
	if (r < 0)
		return r;
	ret->link = r;
	return handle_make(fs, fd, &ret->st, &ret->at);
}

void node_guest_stat(const struct node *n, bool link, bool unlinked, struct stat *st)
{
	st->st_ino = n->ino;
	if (link)
		st->st_nlink = unlinked ? 0 : 1;
}

static void fill_entry(struct hashfs *fs, struct node *n, const struct stat *st, double attr_timeout,
		       struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){
		.ino = node_id(fs, n),
		.attr = *st,
		.attr_timeout = attr_timeout,
		.entry_timeout = fs->timeout,
	};
}

// Is @n split? Then it will not be found any more, and its file may lose its name unnoticed.
static bool retire_if_split(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	struct stat st;

	if (!node_is_split(n))
		return false;
	auto_close int fd = handle_open(fs, &n->at, O_PATH);
	if (fd >= 0 && fstat(fd, &st) == 0)
		node_keep_nameless(fs, n, &st, &fd);
	n->shadowed = true;
	return true;
}

// The kernel looked a private file up: @n, or where @n is split, a new node that its opens do not bind.
static struct node *unsplit(struct hashfs *fs, struct node *n, struct found *f)
{
	if (!retire_if_split(fs, n))
		return n;

	struct node *fresh = map_reserve(&fs->retired) < 0 ? NULL : add_inode(fs, f);
	if (!fresh)
		return NULL;
	fresh->refs = 0;
	fresh->shadowed = true;
	table_retire(fs, n);
	notify_attributes(fs, n);
	return fresh;
}

// A new node would have the kernel drop the name's dentry and, with it, what is mounted there.
static bool must_stay(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	return node_is_split(n) && !n->diverged;
}

static struct node *use_inode(struct hashfs *fs, struct found *f)
{
	struct node *n = table_find_inode(fs, &f->at);
	if (!n)
		return add_inode(fs, f);

	if (f->listed && must_stay(fs, n))
		return NULL;
	n = unsplit(fs, n, f);
	if (n)
		n->refs++;
	return n;
}

// No: somebody else has put another file there (cache=).
static bool link_is(struct hashfs *fs, struct node *n, const struct handle *at)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	return handle_same(&n->at, at);
}

static struct node *use_link(struct hashfs *fs, struct found *f, struct node *parent, const char *name)
{
	uint64_t key = number_name_key(fs, &parent->at, name);
	struct node *n = table_find_link(fs, key, parent, name);
	if (n && !link_is(fs, n, &f->at)) {
		node_lost_link(fs, n);
		n = NULL;
	}
	if (!n)
		return add_link(fs, f, key, parent, name);

	n->refs++;
	return n;
}

// The look-up counts for the node that @f turned out to be, and the kernel learns what it is.
static int reply_found(struct hashfs *fs, struct node *n, struct found *f, struct fuse_entry_param *ret)
{
	if (!n)
		return -ENOMEM;
	node_guest_stat(n, f->link, false, &f->st);
	fill_entry(fs, n, &f->st, node_attr_timeout(fs, n), ret);
	return 0;
}

// @seq is the directory's from before the name was opened. A break may have given the name another inode
// since.
static int use_found(struct hashfs *fs, struct found *f, struct node *parent, const char *name, uint32_t seq,
		     struct fuse_entry_param *ret)
{
	mutex_lock(&fs->table_lock);
	if (parent->seq != seq || parent->publishing) {
		mutex_unlock(&fs->table_lock);
		return LOOK_AGAIN;
	}
	struct node *n = f->link ? use_link(fs, f, parent, name) : use_inode(fs, f);
	mutex_unlock(&fs->table_lock);
	return reply_found(fs, n, f, ret);
}

static uint32_t sequence(struct hashfs *fs, const struct node *dir)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->table_lock);
	return dir->seq;
}

static int look(struct hashfs *fs, struct node *parent, int dir, const char *name, bool listed,
		struct fuse_entry_param *ret)
{
	uint32_t seq = sequence(fs, parent);
	auto_close int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	struct found f = { .listed = listed };
	int r = examine(fs, &fd, &f);
	if (r == 0)
		r = use_found(fs, &f, parent, name, seq, ret);
	handle_close(&f.at);
	return r;
}

// Until a break that is giving one of them another inode is done.
static void wait_for_names(struct node *dir)
{
	mutex_lock(dir->names);
	mutex_unlock(dir->names);
}

static int look_until_found(struct hashfs *fs, struct node *parent, int dir, const char *name, bool listed,
			    struct fuse_entry_param *ret)
{
	int r;

	while ((r = look(fs, parent, dir, name, listed, ret)) == LOOK_AGAIN)
		wait_for_names(parent);
	return r;
}

int node_lookup_in(struct hashfs *fs, struct node *parent, int dir, const char *name,
		   struct fuse_entry_param *ret)
{
	return look_until_found(fs, parent, dir, name, false, ret);
}

int node_lookup_listed(struct hashfs *fs, struct node *parent, int dir, const char *name,
		       struct fuse_entry_param *ret)
{
	return look_until_found(fs, parent, dir, name, true, ret);
}

int node_lookup(struct hashfs *fs, struct node *parent, const char *name, struct fuse_entry_param *ret)
{
	auto_dir struct open_dir dir = dirs_open(fs, parent);

	return dir.fd < 0 ? dir.fd : node_lookup_in(fs, parent, dir.fd, name, ret);
}

// The node of a private file that is open as *@fd.
static int take_inode(struct hashfs *fs, int *fd, struct found *f, struct node **ret)
{
	*f = (struct found){ .at = HANDLE_NONE };
	if (fstat(*fd, &f->st) < 0)
		return -errno;
	int r = handle_make(fs, fd, &f->st, &f->at);
	if (r < 0)
		return r;

	mutex_lock(&fs->table_lock);
	*ret = use_inode(fs, f);
	mutex_unlock(&fs->table_lock);
	handle_close(&f->at);
	return *ret ? 0 : -ENOMEM;
}

int node_root(struct hashfs *fs, int *fd, struct node **ret)
{
	struct found f;
	return take_inode(fs, fd, &f, ret);
}

int node_lookup_fd(struct hashfs *fs, int *fd, struct fuse_entry_param *ret)
{
	struct found f;
	struct node *n = NULL;

	int r = take_inode(fs, fd, &f, &n);
	return r < 0 ? r : reply_found(fs, n, &f, ret);
}

// False: look again.
static bool peek(struct hashfs *fs, struct node *parent, int dir, const char *name, uint64_t *ret)
{
	struct stat st;
	uint32_t seq = sequence(fs, parent);
	auto_close int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		return true;
	bool link = mark_is_link(fs->store->marks, fd, &st) > 0;

	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->table_lock);
	if (parent->seq != seq || parent->publishing)
		return false;
	*ret = link ? number_of_link(fs, number_name_key(fs, &parent->at, name))
		    : number_of_inode(fs, st.st_dev, st.st_ino);
	return true;
}

uint64_t node_peek_number(struct hashfs *fs, struct node *parent, int dir, const char *name,
			  uint64_t backing_ino)
{
	uint64_t number = backing_ino;

	while (!peek(fs, parent, dir, name, &number))
		wait_for_names(parent);
	return number;
}

// One node

int node_open(struct hashfs *fs, struct node *n, int flags)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	return handle_open(fs, &n->at, flags);
}

int node_open_for_descriptor(struct hashfs *fs, struct node *n, int flags)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	bool split = node_is_split(n);

	if (!split && !n->link)
		return handle_open(fs, &n->at, flags);
	if (flags != O_RDONLY)
		return -EBUSY;  // no open of such a node is for writing: they read an object
	return handle_open_unnoticed(fs, split ? &n->backing->at : &n->at);
}

bool node_is_split(const struct node *n)
{
	return n->opens > 0 && n->mode == IO_PASSTHROUGH && !handle_same(&n->backing->at, &n->at);
}

// Paths have led to another node since, through which its file may have been written, or it was truncated.
static bool may_have_new_content(const struct node *n)
{
	return node_is_split(n) && (n->shadowed || n->diverged);
}

bool node_lacks_rights(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	return may_have_new_content(n);
}

bool node_must_look_again(struct hashfs *fs, struct node *n, pid_t tid)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));

	if (!node_is_split(n))
		return false;
	if (stale_tell(&fs->stale, tid, n->ino))
		return true;
	n->diverged = true;
	return false;
}

static int stat_handle(struct hashfs *fs, const struct handle *h, struct stat *ret)
{
	auto_close int fd = handle_open(fs, h, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;
	return fstat(fd, ret) < 0 ? -errno : 0;
}

// The metadata of the guest's file; but the size goes with what descriptors read, or mapping a file that has
// grown would end in SIGBUS. Unless it has diverged, a path reaches a split node only while no one has
// written to the guest's file.
static int stat_both_sides(struct hashfs *fs, struct node *n, struct stat *ret)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	struct stat read_side;

	int r = stat_handle(fs, &n->at, ret);
	if (r == -ESTALE && n->last) {
		*ret = *n->last;
		r = 0;
	}
	if (!node_is_split(n))
		return r;

	int s = stat_handle(fs, &n->backing->at, &read_side);
	if (s < 0)
		return s;
	if (r < 0) {  // the guest's file was deleted meanwhile
		*ret = read_side;
		ret->st_nlink = 0;
	}
	if (may_have_new_content(n))
		ret->st_mode &= ~(mode_t)(S_ISUID | S_ISGID);
	ret->st_size = read_side.st_size;
	ret->st_blocks = read_side.st_blocks;
	return 0;
}

static bool stat_dir(struct hashfs *fs, struct node *n, struct stat *ret)
{
	auto_dir struct open_dir dir = dirs_open(fs, n);
	return dir.fd >= 0 && fstat(dir.fd, ret) == 0;
}

int node_stat(struct hashfs *fs, struct node *n, struct stat *ret)
{
	int r = S_ISDIR(n->type) && stat_dir(fs, n, ret) ? 0 : stat_both_sides(fs, n, ret);
	if (r < 0)
		return r;

	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->table_lock);
	node_guest_stat(n, n->link, n->unlinked, ret);
	return 0;
}

double node_attr_timeout(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	// The size of a split node changes when its descriptors are closed, and nobody tells the kernel.
	return n->shadowed || node_is_split(n) ? 0 : fs->timeout;
}

bool node_is_link(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->table_lock);
	return n->link;
}
