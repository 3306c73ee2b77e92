// Directories, name by name.
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

// "." or ".."?
bool dir_is_dots(const char *name);

// Which directory of a filesystem it is, for as long as that keeps it: a number alone is used again.
struct dir_id {
	uint64_t ino;
	int64_t born;  // in nanoseconds since 1970; 0: the filesystem does not tell
};

int dir_identify(int dir, struct dir_id *ret);
bool dir_id_equal(struct dir_id a, struct dir_id b);

// Opens the directory @name in @parent, no link, and calls @each(its fd, entry, @arg) for all its names but
// "." and "..", until one call returns something other than 0. Names that come or go meanwhile may be seen or
// not. Returns what the last call did, or the negative errno of opening or reading.
int dir_each(int parent, const char *name, int (*each)(int dir, const struct dirent64 *entry, void *arg),
	     void *arg);
