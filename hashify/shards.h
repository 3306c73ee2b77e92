// The directories of objects. The index keeps what they held when they were read last, as it does for the
// guests' (hashed.h): one that is as it was then is not read again.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "hashify/listing.h"
#include "store/object.h"

struct hashed;
struct known_object;
struct store;

struct shard {
	struct listing *same;  // as it was
	uint64_t ino, stamp;   // else, what it was before it was read; 0: it cannot be kept
};

// One part of several, for a thread.
struct shards_part {
	unsigned number, of;
};

struct shards {
	struct hashed *hashed;  // borrowed
	size_t limit;           // of bytes in the index
	bool keep;
	bool outdated;             // they are worth keeping anew, as shards_end() has found
	struct listings listings;  // owned
	struct shard all[OBJECT_SHARDS];
};

// Loads what the index of @h has, no more than @limit bytes. @keep: shards_end() is to keep what is there
// now. The caller owns *@ret. -ENOMEM.
int shards_load(struct hashed *h, size_t limit, bool keep, struct shards **ret);
void shards_free(struct shards *s);

// What object_each() does, without status. Several threads may do that at a time, for different parts.
int shards_each(struct shards *s, struct store *store, struct shards_part part,
		int (*each)(const struct object_key *key, const struct stat *st, void *arg), void *arg,
		uint64_t *ret_foreign);

// When all parts are done: puts the objects into the index if they are to be kept. It has all @count of them,
// those of a directory next to each other.
void shards_end(struct shards *s, const struct known_object *objects, size_t count);
