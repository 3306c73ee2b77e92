// Hard links between guests that are no objects': of a pool that was restored without its store, or of a
// guest made by `cp -al`. To a mount such a file is one that a guest has given several names itself, and what
// one guest writes there, the others read. With a mark it is a link to every mount, and so the guests are
// kept apart.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct tree;

struct apart {
	uint64_t files;   // that were marked, or would be
	uint64_t errors;  // names of files that could not be, each of them said
	int error;        // -ENOMEM: no file was looked at; 0
};

// Marks the files that more than one of the @count guests @trees of @pool have hard links to (tree.h).
// Without
// @s they are only counted.
void apart_mark(int pool, struct store *s, const struct tree *trees, size_t count, struct apart *ret);

// Has the file @name in the directory @dir no mark? Nothing has without @s, and what cannot be read counts as
// marked: no mount takes it for private.
bool apart_is_unmarked(const struct store *s, int dir, const char *name);
