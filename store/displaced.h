// A file that a link has displaced: it waits in tmp/ under a name that tells which object took its place,
// until it is certain that nobody wrote to it on the way. Then it is dropped, or put back.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/name.h"
#include "store/tmp.h"

struct store;

// "OBJECT.WORKER.NUMBER", in the directory @dir ("worker-N/" or "").
void displaced_name_print(const char *dir, const struct object_key *key, unsigned worker, uint64_t number,
			  char ret[TMP_NAME_SIZE]);
int displaced_name_parse(const char *name, struct object_key *ret);

enum put_back {
	PUT_BACK,     // @path is the displaced file again
	PLACE_TAKEN,  // @path is no link to the object any more, or cannot be reached: the guest replaced or
		      // removed it, or a directory on the way
};

// Calls @each with the key of the object that took the place of each displaced file in tmp/, which recovery
// is going to compare with it; stops at its first non-zero answer and returns that.
int displaced_each(struct store *s, int (*each)(const struct object_key *key, void *arg), void *arg);

// Exchanges the displaced file @tmp with the name @path of the pool, if that is a link to the inode @object,
// and removes the link. The directory's times stay.
int displaced_put_back(struct store *s, const char *tmp, const char *path, uint64_t object);

// The same, where the directory of the name is open.
int displaced_put_back_at(struct store *s, const char *tmp, int dir, const char *name, uint64_t object);

// The same, wherever the guest has moved our link meanwhile: @link is an O_PATH fd by which it was opened
// under another name, and follows it. What the displaced file's name was exchanged with, it would be
// exchanged with.
int displaced_put_back_behind(struct store *s, const char *tmp, int link, uint64_t object);

// Will trying later do? Any other error ends with keeping the file: one file must not stop every pass to
// come.
bool displaced_is_transient(int error);

// Removes the name @tmp.
int displaced_drop(struct store *s, const char *tmp);

// Gives it the name kept-…, under which nothing of ours removes it. The administrator finds it there.
int displaced_keep(struct store *s, const char *tmp);
