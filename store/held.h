// `.hash/held`: a name of the store's own for each file that guests share by its mark alone, because no pass
// has made it an object: hard links between guests (`cp -al`, a pool that was restored without its store),
// and links whose object lost its name for good. When one guest's name is the last, the file stays a link all
// the same, as an object does: another guest may have it open or mapped still.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct store;

#define HELD_PATH_SIZE 32

// Sees to it that the file of @fd, an O_PATH fd with status @st, has such a name. The caller holds the lock
// of those that change the store. -EMLINK: it can take no more names; -EPERM: it is not ours to link.
int held_add(struct store *s, int fd, const struct stat *st);

// Has the file with the inode number @ino such a name?
bool held_has(const struct store *s, uint64_t ino);

// Removes it.
void held_remove(struct store *s, uint64_t ino);

// The name @path of the file with the status @st tells its number; in a copy of a store it does not, and is
// put right. @ret is what it is then.
int held_put_right(struct store *s, const char *path, const struct stat *st, char ret[HELD_PATH_SIZE]);

// Calls @each for every such name, with its path below the store's directory and its file's status; stops at
// its first non-zero answer and returns that. Other names are passed over, their number is added to
// @ret_foreign.
int held_each(struct store *s, int (*each)(const char *path, const struct stat *st, void *arg), void *arg,
	      uint64_t *ret_foreign);
