// A path that a user named, in a pool.
#pragma once

#include "hashify/openpool.h"

struct place {
	struct openpool pool;  // owned
	char *pool_path;       // owned: absolute
	char *path;            // owned: below the pool, "" for the pool itself, else "GUEST" or "GUEST/…"
};

// Finds and opens the pool that @path lies in. A symbolic link is not followed if it is what @path names, and
// none is below a guest's directory. 0, or -1: the reason was said.
int place_open(const char *path, enum openpool_mode mode, struct place *ret);
void place_close(struct place *p);

// Opens the directory that holds what @p names, which is no pool and no guest, beneath the pool and through
// no symbolic link; *@ret_name is the name in it. The caller owns the fd.
int place_open_parent(const struct place *p, const char **ret_name);
