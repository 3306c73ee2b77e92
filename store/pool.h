// Find a pool from a path inside it.
#pragma once

#include <stddef.h>

// Opens the nearest directory, from @path upwards, that holds a store, as an O_DIRECTORY|O_RDONLY fd; never
// crosses to another filesystem on the way up except from a btrfs subvolume to its parent. @ret_path, if not
// NULL, gets its absolute path (malloc). -ENOENT: @path does not exist; -ENOTDIR; -ENODATA: no store in any
// directory above it.
int pool_find(const char *path, char **ret_path);
