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

// Marks the files without a mark that the walk has found in more than one of the @count guests @trees of
// @pool.
// *@ret is how many these are; with @dry_run they are only counted. -ENOMEM, or the first error of
// marking one: the others have got theirs.
int apart_mark(int pool, struct store *s, const struct tree *trees, size_t count, bool dry_run,
	       uint64_t *ret);

// Has the file @name of several names in the directory @dir no mark? A negative errno: that cannot be told.
int apart_is_unmarked(const struct store *s, int dir, const char *name);
