// What the walk remembers of one guest: its directories, and its files that are not links yet. A path is kept
// as (directory, name), because whole paths would cost more than all else; files and names never move once
// they are added. One thread fills a tree; when that is done, any number may read it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/base/map.h"

struct tree_dir {
	uint32_t parent;         // index; the guest's root, 0, is its own
	uint32_t path_len : 31;  // bytes of its path below the guest, without a NUL
	uint32_t is_frozen : 1;  // immutable or append-only: no name in it can become a link
	const char *name;
};

// A file that is not a link, as the walk saw it. There may be millions: each byte counts, and the next one
// begins right behind the name.
struct tree_file {
	uint64_t ino;
	uint64_t size;
	uint32_t class;   // 32 bits of identity_class() of what it was; at last another's (whatif.h)
	uint32_t guest;   // index among the guests
	uint32_t dir;     // index in the guest's tree
	uint32_t row;     // hashed_find()
	uint32_t traits;  // whatif_traits(), and what has become of it (whatif.h)
	char name[];
} __attribute__((packed));

struct tree_chunk;

// The locks of the stores in a guest, which keep them from being used; with more it is left alone.
struct tree_stores {
	int locks[4];  // owned
	unsigned count;
};

// What all trees of a walk may take together, and how much it would be: bytes.
struct tree_budget {
	_Atomic uint64_t files, dirs;
	uint64_t limit;
};

struct tree {
	char *guest;     // owned: the name of the guest in the pool
	uint32_t index;  // of the guest
	struct tree_dir *dirs;
	size_t dir_count, dir_capacity;
	struct tree_chunk *names, *files;  // newest first
	size_t file_count;
	struct map hard_links;       // by inode number: struct hard_link, owned
	size_t hard_links_charged;   // the most there were
	uint64_t seen;               // names, by the walk
	size_t directories_read;     // by it; the others were as the index has them
	struct tree_budget *budget;  // borrowed; NULL: no limit
	size_t uncharged_files, uncharged_dirs;
	struct tree_stores stores;  // held until tree_free()
	bool is_full;               // the budget is used up
	bool is_elsewhere;          // the guest's root is of another filesystem or subvolume than the store
	bool served;                // by who uses a store in it: that is not to be touched
};

// Makes @ret an empty tree for the guest called @guest. -ENOMEM.
int tree_init(struct tree *ret, const char *guest, uint32_t index);
void tree_free(struct tree *t);

// Forgets all but the guest's name and the locks.
void tree_clear(struct tree *t);

// Adds a directory and returns its index: 0 for the first, the guest's root, whose @name is "". -ENOMEM.
int64_t tree_add_dir(struct tree *t, uint32_t parent, const char *name);

// Adds a copy of @f with @name in the directory @f->dir. -ENOMEM; -ENOBUFS: the budget is used up, and the
// file was only charged.
int tree_add_file(struct tree *t, const struct tree_file *f, const char *name);

// A file of which not all names were seen in the guest: the others are elsewhere.
struct hard_link {
	uint64_t ino;
	uint64_t missing;
	bool marked;  // it is a link to every mount
};

// Sees one more name of the file @ino, which has @names, two at least; forgets it with the last one. -ENOMEM.
int tree_see_hard_link(struct tree *t, uint64_t ino, uint64_t names, bool marked);
void tree_forget_hard_links(struct tree *t);

// What the directories so far leave of @b to files.
uint64_t tree_budget_for_files(const struct tree_budget *b);

// Could these two be identical, by what the walk saw of them?
static inline bool tree_same_class(const struct tree_file *a, const struct tree_file *b)
{
	return a->size == b->size && a->class == b->class;
}

// Calls @each for all files.
void tree_each_file(const struct tree *t, void (*each)(struct tree_file *f, void *arg), void *arg);

// The path of @name in directory @dir, from the pool on ("web1/usr/bin/git"; NULL @name: of the directory
// itself). The caller frees it. NULL: no memory.
char *tree_path(const struct tree *t, uint32_t dir, const char *name);

// Opens directory @dir for reading, beneath @pool and through no link or mount, however long its path is. The
// caller owns the fd.
int tree_open_dir(const struct tree *t, int pool, uint32_t dir);

// The same by @fd, which is the directory @above that @dir lies below.
int tree_open_below(const struct tree *t, int fd, uint32_t above, uint32_t dir);
