// The inodes that have the name of an object, whatever their variant: in objects/ or in quarantine/. For when
// the object itself cannot be had: a link is known by its inode all the same.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/name.h"

struct store;

struct variants {
	uint64_t *inodes;  // owned
	size_t count, capacity;
};

// Those of @key. A directory that cannot be read has none. -ENOMEM, -EMFILE, -ENFILE: trying later will do.
int variants_find(struct store *s, const struct object_key *key, struct variants *ret);
bool variants_have(const struct variants *v, uint64_t ino);
void variants_free(struct variants *v);
