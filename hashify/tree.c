#include "hashify/tree.h"

#include "store/base/array.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// Names and files are laid down in chunks, so that growing never moves or doubles them.
#define CHUNK_SIZE ((size_t)64 * 1024)

struct tree_chunk {
	struct tree_chunk *next;
	size_t size, used;  // of data
	char data[];
};

// The first is small: there may be thousands of guests, each with little that is new.
static size_t chunk_size(const struct tree_chunk *last)
{
	return last ? CHUNK_SIZE : CHUNK_SIZE / 16;
}

static void *chunk_add(struct tree_chunk **head, size_t size)
{
	struct tree_chunk *c = *head;
	if (!c || c->size - c->used < size) {
		size_t whole = chunk_size(c);
		c = malloc(whole);
		if (!c)
			return NULL;
		*c = (struct tree_chunk){ .next = *head, .size = whole - sizeof(*c) };
		assert(size <= c->size);
		*head = c;
	}
	void *p = c->data + c->used;
	c->used += size;
	return p;
}

static void chunk_free(struct tree_chunk *c)
{
	while (c) {
		struct tree_chunk *next = c->next;
		free(c);
		c = next;
	}
}

static const char *add_name(struct tree *t, const char *name)
{
	size_t size = strlen(name) + 1;
	char *p = chunk_add(&t->names, size);
	if (p)
		memcpy(p, name, size);
	return p;
}

int tree_init(struct tree *ret, const char *guest, uint32_t index)
{
	char *copy = strdup(guest);
	if (!copy)
		return -ENOMEM;
	*ret = (struct tree){ .guest = copy, .index = index };
	return 0;
}

static void free_hard_link(void *link, void *arg)
{
	(void)arg;
	free(link);
}

void tree_forget_hard_links(struct tree *t)
{
	map_each(&t->hard_links, free_hard_link, NULL);
	map_free(&t->hard_links);
}

void tree_clear(struct tree *t)
{
	chunk_free(t->names);
	chunk_free(t->files);
	free(t->dirs);
	tree_forget_hard_links(t);
	*t = (struct tree){ .guest = t->guest, .index = t->index, .stores = t->stores };
}

void tree_free(struct tree *t)
{
	tree_clear(t);
	while (t->stores.count > 0)
		fd_close(t->stores.locks[--t->stores.count]);
	free(t->guest);
	t->guest = NULL;
}

// Besides what it takes here, each file has a pointer in its class, and a list of classes an entry for two
// files or more; the array of directories may have as many free places as taken ones.
#define FILE_SHARE (2 * sizeof(void *))
#define DIR_SHARE (2 * sizeof(struct tree_dir))

// With what malloc(3) and the map take.
#define HARD_LINK_SHARE (5 * sizeof(struct hard_link))

// Threads meet at the budget: not for every name.
#define CHARGED_AT_ONCE ((size_t)16 * 1024)

// Whatever part of the files is collected, all directories are: taking smaller parts only helps if some of
// the budget is left to files.
uint64_t tree_budget_for_files(const struct tree_budget *b)
{
	uint64_t dirs = atomic_load(&b->dirs), half = b->limit / 2;
	return b->limit - (dirs < half ? dirs : half);
}

static void charge(struct tree *t, size_t files, size_t dirs)
{
	struct tree_budget *b = t->budget;
	t->uncharged_files += files;
	t->uncharged_dirs += dirs;
	if (!b || t->uncharged_files + t->uncharged_dirs < CHARGED_AT_ONCE)
		return;
	atomic_fetch_add(&b->dirs, t->uncharged_dirs);
	uint64_t used = atomic_fetch_add(&b->files, t->uncharged_files) + t->uncharged_files;
	t->uncharged_files = t->uncharged_dirs = 0;
	t->is_full = t->is_full || used > tree_budget_for_files(b);
}

int64_t tree_add_dir(struct tree *t, uint32_t parent, const char *name)
{
	if (t->dir_count == UINT32_MAX)
		return -ENOMEM;
	struct tree_dir *dirs = array_grow(t->dirs, t->dir_count, &t->dir_capacity, sizeof(*dirs));
	if (!dirs)
		return -ENOMEM;
	t->dirs = dirs;

	uint64_t len = 0;
	if (t->dir_count > 0)
		len = t->dirs[parent].path_len + (t->dirs[parent].path_len > 0) + strlen(name);
	if (len > INT32_MAX)
		return -ENAMETOOLONG;
	const char *copy = add_name(t, name);
	if (!copy)
		return -ENOMEM;
	t->dirs[t->dir_count] = (struct tree_dir){ .parent = parent,
						   .path_len = (uint32_t)len & INT32_MAX,
						   .name = copy };
	charge(t, 0, DIR_SHARE + strlen(name) + 1);
	return (int64_t)t->dir_count++;
}

// Of a file with its name.
static size_t record_size(const char *name)
{
	return offsetof(struct tree_file, name) + strlen(name) + 1;
}

int tree_add_file(struct tree *t, const struct tree_file *f, const char *name)
{
	size_t size = record_size(name);
	charge(t, size + FILE_SHARE, 0);
	if (t->is_full)
		return -ENOBUFS;
	struct tree_file *added = chunk_add(&t->files, size);
	if (!added)
		return -ENOMEM;

	memcpy(added, f, offsetof(struct tree_file, name));
	memcpy(added->name, name, strlen(name) + 1);
	added->guest = t->index;
	t->file_count++;
	return 0;
}

int tree_see_hard_link(struct tree *t, uint64_t ino, uint64_t names, bool marked)
{
	struct hard_link *link = map_find(&t->hard_links, ino, NULL, NULL);
	if (link) {
		if (--link->missing > 0)
			return 0;
		map_remove(&t->hard_links, ino, link);
		free(link);
		return 0;
	}
	link = malloc(sizeof(*link));
	if (!link || map_reserve(&t->hard_links) < 0) {
		free(link);
		return -ENOMEM;
	}
	*link = (struct hard_link){ ino, names - 1, marked };
	map_add(&t->hard_links, ino, link);
	if (t->hard_links.count > t->hard_links_charged) {
		t->hard_links_charged = t->hard_links.count;
		charge(t, 0, HARD_LINK_SHARE);
	}
	return 0;
}

void tree_each_file(const struct tree *t, void (*each)(struct tree_file *f, void *arg), void *arg)
{
	for (struct tree_chunk *c = t->files; c; c = c->next)
		for (size_t at = 0; at < c->used;) {
			struct tree_file *f = (struct tree_file *)(c->data + at);
			at += record_size(f->name);
			each(f, arg);
		}
}

// Writes the path of @dir below the directory @above, which ends at @end, backwards from there.
static void print_dir(const struct tree *t, uint32_t above, uint32_t dir, char *end)
{
	while (dir != above) {
		size_t len = strlen(t->dirs[dir].name);
		end -= len;
		memcpy(end, t->dirs[dir].name, len);
		dir = t->dirs[dir].parent;
		if (dir != above)
			*--end = '/';
	}
}

char *tree_path(const struct tree *t, uint32_t dir, const char *name)
{
	size_t guest_len = strlen(t->guest);
	size_t dir_len = t->dirs[dir].path_len;
	size_t name_len = name ? strlen(name) : 0;
	char *path = malloc(guest_len + 1 + dir_len + 1 + name_len + 1);
	if (!path)
		return NULL;

	char *p = mempcpy(path, t->guest, guest_len);
	if (dir_len > 0) {
		*p++ = '/';
		p += dir_len;
		print_dir(t, 0, dir, p);
	}
	if (name) {
		*p++ = '/';
		p = mempcpy(p, name, name_len);
	}
	*p = '\0';
	return path;
}

// Cuts @path, @len bytes, at its last slash within PATH_MAX and returns where the rest begins.
static char *cut_piece(char *path, size_t len)
{
	if (len < PATH_MAX)
		return path + len;
	char *slash = memrchr(path, '/', PATH_MAX - 1);  // there is one: a name has 255 bytes at most
	assert(slash);
	*slash = '\0';
	return slash + 1;
}

// Opens the directory @path, @len bytes, beneath @top.
static int open_pieces(int top, char *path, size_t len)
{
	auto_close int fd = -1;
	const char *end = path + len;
	for (char *piece = path, *next; piece < end; piece = next) {
		next = cut_piece(piece, (size_t)(end - piece));
		int r = beneath_open(fd >= 0 ? fd : top, piece, O_RDONLY | O_DIRECTORY, 0);
		if (r < 0)
			return r;
		if (fd >= 0)
			fd_close(fd);
		fd = r;
	}
	return take_fd(&fd);
}

int tree_open_dir(const struct tree *t, int pool, uint32_t dir)
{
	auto_free char *path = tree_path(t, dir, NULL);
	return path ? open_pieces(pool, path, strlen(path)) : -ENOMEM;
}

int tree_open_below(const struct tree *t, int fd, uint32_t above, uint32_t dir)
{
	const struct tree_dir *top = &t->dirs[above];
	size_t len = t->dirs[dir].path_len - top->path_len - (top->path_len > 0);
	auto_free char *path = malloc(len + 1);
	if (!path)
		return -ENOMEM;
	path[len] = '\0';
	print_dir(t, above, dir, path + len);
	return open_pieces(fd, path, len);
}
