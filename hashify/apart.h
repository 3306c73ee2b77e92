// Hard links between guests that are no objects': of a pool that was restored without its store, or of a
// guest made by `cp -al`. To a mount such a file is one that a guest has given several names itself, and what
// one guest writes there, the others read. With a mark it is a link to every mount, and so the guests are
// kept apart.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct statx;
struct store;
struct tree;

struct apart {
	uint64_t files;   // that were marked and are held (held.h), or would be
	uint64_t errors;  // files that could not be, each of them said
	int error;        // negative errno: not all were looked for; 0
};

enum apart_restore { RESTORE_NOTHING, RESTORE_FORETOLD, RESTORE_OBJECTS };

enum apart_seen {
	APART_OWN,     // it has one name, or is its guest's, by all that was seen so far
	APART_MARKED,  // a link to every mount, of no object
	APART_LINK,    // a link, whose object had lost its name and has it again
};

// Sees the name @name, of the status @st, in the directory @dir of the guest @tree: hard links without a
// mark, or with one that the store does not hold, of which names are elsewhere, stay in the tree (tree.h).
// @dev is the store's filesystem; without @s nothing has a mark. @restore: may there be an APART_LINK, and is
// it only foretold? Returns enum apart_seen, or -ENOMEM.
int apart_see(struct tree *tree, struct store *s, dev_t dev, int dir, const char *name,
	      const struct statx *st, enum apart_restore restore);

// Has the file @name, wherever its other names are, the mark of a link?
bool apart_is_marked(struct store *s, int dir, const char *name);

// Marks and holds the files that more than one of the @count guests @trees of @pool have hard links to.
// Without @s they are only counted.
void apart_mark(int pool, struct store *s, const struct tree *trees, size_t count, struct apart *ret);
