// Directories, name by name.
#pragma once

#include <dirent.h>
#include <stdbool.h>

// "." or ".."?
bool dir_is_dots(const char *name);

// Opens the directory @name in @parent, no link, and calls @each(its fd, entry, @arg) for all its names but
// "." and "..", until one call returns something other than 0. Names that come or go meanwhile may be seen or
// not. Returns what the last call did, or the negative errno of opening or reading.
int dir_each(int parent, const char *name, int (*each)(int dir, const struct dirent64 *entry, void *arg),
	     void *arg);
