// `.hash/quarantine`: objects that are not what their names say. A pass does not know them, so nothing is
// linked to them any more; what guests' names are links to them stays so.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "store/name.h"

struct store;

// Prints "quarantine/NAME".
void quarantine_path_print(const struct object_key *key, char ret[OBJECT_PATH_SIZE]);

// Moves the object @key there; its variant becomes the next one that no object in quarantine has. If its mark
// is gone, it gets one again first: without it, a mount would write to it in place. The caller holds the lock
// of those that change the store. -ENOENT: no such object; any error: it is where it was.
int quarantine_add(struct store *s, struct object_key *key);

// Is the inode @ino the one of @key there?
bool quarantine_has(const struct store *s, const struct object_key *key, uint64_t ino);

// Calls @each for every object there; stops at its first non-zero answer and returns that. Other names are
// passed over, their number is added to @ret_foreign.
int quarantine_each(struct store *s,
		    int (*each)(const struct object_key *key, const struct stat *st, void *arg), void *arg,
		    uint64_t *ret_foreign);
