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

struct shards;
struct store;

struct known_object {
	struct object_key key;
	uint64_t ino;
	uint64_t identity;  // that it is looked up by: of the key, or 0 for all if any may do
};

struct known {
	bool any_identity;
	struct known_object *objects;  // owned; sorted by size, identity, digest, variant
	size_t count;
	struct map by_ino;
	uint64_t inode_sum;  // of digests of them: tells the set from others
	uint64_t foreign;    // names in objects/ that are no object's
};

// Loads the objects of @s; a NULL @s has none. @shards, or NULL, is what is known of them. @any_identity: a
// part of the identity is ignored, so that the one in a name tells nothing. -ENOMEM. @threads read at the
// same time: one, where @shards is NULL.
int known_load(struct store *s, struct shards *shards, bool any_identity, unsigned threads,
	       struct known *ret);

// As well as the objects, those in quarantine: all that a guest's name may be a link to.
int known_load_linked(struct store *s, struct known *ret);

// Those in quarantine alone; only known_ino() is to be asked of it.
int known_load_quarantined(struct store *s, struct known *ret);

// Makes a set of these @count objects alone, in their order; only known_ino() is to be asked of it. Takes
// the array @objects, also when it fails. -ENOMEM.
int known_of(struct known_object *objects, size_t count, struct known *ret);

void known_free(struct known *k);

// The object whose inode is @ino (on the store's own filesystem and subvolume); NULL: none.
const struct known_object *known_ino(const struct known *k, uint64_t ino);

// Is there an object of @size? One of @size and @identity?
bool known_size(const struct known *k, uint64_t size);
bool known_identity(const struct known *k, uint64_t size, uint64_t identity);

// The objects of @size: the first and how many, counted up to @limit.
const struct known_object *known_sized(const struct known *k, uint64_t size, size_t limit, size_t *ret_count);

// The object of @size and @identity if there is just one; NULL: none or several.
const struct known_object *known_only(const struct known *k, uint64_t size, uint64_t identity);

// The objects with @size, @identity and @digest, by ascending variant (of each identity in turn, if any may
// do): the first and how many.
const struct known_object *known_variants(const struct known *k, uint64_t size, uint64_t identity,
					  struct digest digest, size_t *ret_count);
