// `.hash/tmp`: nameless files, and in-flight names of the store's filesystem. Every name there tells what it
// is, so that the next start knows what to do with what a crash left (recover.h).
#pragma once

#include <stdint.h>

struct store;

// The longest in-flight name, with its NUL.
#define TMP_NAME_SIZE 128

// Opens a new nameless file for writing: gone by itself unless tmp_link() names it. Mode 0600.
int tmp_open(struct store *s);

// Gives nameless @fd a name in tmp/ and prints it to @ret. The name says "a whole private copy, drop me".
int tmp_link(struct store *s, int fd, char ret[TMP_NAME_SIZE]);

// Gives nameless @fd this name, one of those that recovery knows. -EEXIST: it is taken.
int tmp_link_as(struct store *s, int fd, const char *name);

// Removes @name from tmp/.
int tmp_remove(struct store *s, const char *name);
