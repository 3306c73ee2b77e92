// Find a pool from a path inside it.
#pragma once

#include <stdbool.h>

// Opens the outermost directory on the way from the root to @path that holds a store, as an
// O_DIRECTORY|O_RDONLY fd. The outermost, because a guest may make a `.hash` of its own, and what that says
// must not count. @ret_path, if not NULL, gets its absolute path (malloc). -ENOENT: @path does not exist;
// -ENODATA: no store in any directory above it.
int pool_find(const char *path, char **ret_path);

// Has the directory @dir a store? One that we may not look into counts.
bool pool_has_store(int dir);
