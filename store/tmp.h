// `.hash/tmp`: nameless files, and in-flight names of the store's filesystem. Every name there tells what it
// is, so that the next start knows what to do with what a crash left (recover.h).
#pragma once

#include <stdint.h>

struct store;

// The longest in-flight name, with its NUL and with the directory of a worker.
#define TMP_NAME_SIZE 128

// Workers that link at the same time would wait for each other in one directory: each has one of its own in
// tmp/, from the making on until tmp_worker_remove(). Prints "worker-N/" to @ret, or "" where none can be
// made: tmp/ does as well.
#define TMP_WORKER_SIZE 24
void tmp_worker_make(struct store *s, unsigned worker, char ret[TMP_WORKER_SIZE]);

// Removes it, or all there are, if they are empty.
void tmp_worker_remove(struct store *s, const char *worker);
void tmp_worker_remove_all(struct store *s);

// Calls @each for all names in tmp/ and, as "worker-N/NAME", in the workers' directories there, until it
// returns something other than 0, and returns that; or the error of reading them.
int tmp_each(struct store *s, int (*each)(const char *name, void *arg), void *arg);

// Opens a new nameless file for writing: gone by itself unless tmp_link() names it. Mode 0600.
int tmp_open(struct store *s);

// Gives nameless @fd a name in tmp/ and prints it to @ret. The name says "a whole private copy, drop me".
int tmp_link(struct store *s, int fd, char ret[TMP_NAME_SIZE]);

// Puts a whiteout in the place of @name in the open directory @dir, as rename(2) does with RENAME_WHITEOUT:
// in one step, by the ids with which this thread makes files.
int tmp_whiteout(struct store *s, int dir, const char *name);

// Removes @name from tmp/.
int tmp_remove(struct store *s, const char *name);
