// The objects there are when a pass starts: by inode, so that the walk passes over links without asking the
// disk, and by key, so that a file of which no object can exist need not be read. Filled once, then read by
// any number of threads.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/base/map.h"
#include "store/name.h"

struct store;

struct known_object {
	struct object_key key;
	uint64_t ino;
};

struct known {
	struct known_object *objects;  // owned; sorted by size, identity, digest, variant
	size_t count;
	struct map by_ino;
	uint64_t foreign;  // names in objects/ that are no object's
};

// Loads the objects of @s; a NULL @s has none. -ENOMEM.
int known_load(struct store *s, struct known *ret);
void known_free(struct known *k);

// The object whose inode is @ino (on the store's own filesystem and subvolume); NULL: none.
const struct known_object *known_ino(const struct known *k, uint64_t ino);

// Is there an object of @size? One of @size and @identity?
bool known_size(const struct known *k, uint64_t size);
bool known_identity(const struct known *k, uint64_t size, uint64_t identity);

// The objects with the size, identity and digest of @key, by ascending variant: the first and how many.
const struct known_object *known_variants(const struct known *k, const struct object_key *key,
					  size_t *ret_count);
