// The directories a worker has used lately, kept open: files of one class, and classes next to each other on
// the disk, tend to lie in the same ones. Not thread-safe.
#pragma once

#include <stddef.h>

#include "hashify/tree.h"

struct dircache;

// Keeps @capacity directories open, at least 4. @trees and @pool are borrowed. -ENOMEM.
int dircache_new(const struct tree *trees, int pool, size_t capacity, struct dircache **ret);
void dircache_free(struct dircache *c);

// The directory of @f, open for reading; the fd stays the cache's, and open until two others have been asked
// for.
int dircache_open(struct dircache *c, const struct tree_file *f);
