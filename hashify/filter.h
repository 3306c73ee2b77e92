// What need never be read: a file that is alone in its class, with no object of that size. A class holds the
// files that agree in size, mode, owner and mtime: only those can become names of one inode. (Their xattrs
// are not known before they are opened.)
#pragma once

#include <stddef.h>

#include "hashify/known.h"
#include "hashify/reason.h"
#include "hashify/tree.h"

struct report;

// Files of one class, ordered by inode.
struct class
{
	struct tree_file **files;
	size_t count;
};

struct classes {
	struct tree_file **files;  // owned; all, by class; the files themselves are the trees'
	size_t file_count;
	struct class *list;  // owned; ordered by the first file's inode, as they lie on the disk
	size_t count;
};

// Groups the files of @trees. Those that need not be read are skipped as alone, counted in @tally. -ENOMEM.
int filter_classes(const struct tree *trees, size_t tree_count, const struct known *known,
		   struct report *report, struct tally *tally, struct classes *ret);
void filter_free(struct classes *c);
