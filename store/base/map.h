// Hash map from a 64-bit key to a non-NULL pointer. Several entries may share a key: the caller tells them
// apart, so a map keyed by a hash of something longer works as well. Not thread-safe.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Keys are often inode numbers or addresses, which are dense: spreads them over 32 bits (Fibonacci hashing).
static inline uint64_t map_spread(uint64_t key)
{
	return (key ^ (key >> 32)) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

struct map_slot {
	uint64_t key;
	void *value;  // NULL: empty
};

struct map {
	struct map_slot *slots;
	size_t capacity;  // 0, or a power of two
	size_t count;
};

// An all-zero struct is an empty map.
void map_free(struct map *m);

// Makes room for one more entry, so that the map_add() after it cannot fail. -ENOMEM.
int map_reserve(struct map *m);

// Gives room back where entries take no more than an eighth of it. True: it was so.
bool map_shrink(struct map *m);

// Adds an entry; map_reserve() was called since the last map_add().
void map_add(struct map *m, uint64_t key, void *value);

// Finds the entry under @key for which @match(value, arg) holds; a NULL @match takes the first. NULL: none.
void *map_find(const struct map *m, uint64_t key, bool (*match)(const void *value, const void *arg),
	       const void *arg);

// Removes the entry (@key, @value), which must be there.
void map_remove(struct map *m, uint64_t key, const void *value);

// Calls @each(value, arg) for all entries in no order; it must not change the map.
void map_each(const struct map *m, void (*each)(void *value, void *arg), void *arg);
