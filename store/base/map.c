#include "store/base/map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define SMALLEST 16

// Linear probing, at most three quarters full. A removal moves later entries back, so that no tombstones are
// left.

static size_t home(const struct map *m, uint64_t key)
{
	return (size_t)map_spread(key) & (m->capacity - 1);
}

static size_t next(const struct map *m, size_t i)
{
	return (i + 1) & (m->capacity - 1);
}

static void insert(struct map *m, uint64_t key, void *value)
{
	size_t i = home(m, key);

	while (m->slots[i].value)
		i = next(m, i);
	m->slots[i] = (struct map_slot){ key, value };
}

void map_free(struct map *m)
{
	free(m->slots);
	*m = (struct map){ 0 };
}

static int resize(struct map *m, size_t capacity)
{
	struct map other = { .capacity = capacity, .count = m->count };

	other.slots = calloc(capacity, sizeof(*other.slots));
	if (!other.slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->capacity; i++)
		if (m->slots[i].value)
			insert(&other, m->slots[i].key, m->slots[i].value);
	free(m->slots);
	*m = other;
	return 0;
}

int map_reserve(struct map *m)
{
	if ((m->count + 1) * 4 <= m->capacity * 3)
		return 0;
	return resize(m, m->capacity ? m->capacity * 2 : SMALLEST);
}

bool map_shrink(struct map *m)
{
	size_t capacity = m->capacity;

	while (capacity > SMALLEST && m->count * 8 <= capacity)
		capacity /= 2;
	return capacity < m->capacity && resize(m, capacity) == 0;
}

void map_add(struct map *m, uint64_t key, void *value)
{
	assert(value && m->count < m->capacity);
	insert(m, key, value);
	m->count++;
}

void *map_find(const struct map *m, uint64_t key, bool (*match)(const void *value, const void *arg),
	       const void *arg)
{
	if (m->count == 0)
		return NULL;
	for (size_t i = home(m, key); m->slots[i].value; i = next(m, i))
		if (m->slots[i].key == key && (!match || match(m->slots[i].value, arg)))
			return m->slots[i].value;
	return NULL;
}

// Is the home of the entry at @i outside of (@hole, @i]? Then it may move into the hole.
static bool may_move(const struct map *m, size_t hole, size_t i)
{
	size_t h = home(m, m->slots[i].key);
	return hole <= i ? h <= hole || h > i : h <= hole && h > i;
}

void map_remove(struct map *m, uint64_t key, const void *value)
{
	assert(m->count > 0);
	size_t hole = home(m, key);
	while (m->slots[hole].value != value) {
		assert(m->slots[hole].value);
		hole = next(m, hole);
	}
	for (size_t i = next(m, hole); m->slots[i].value; i = next(m, i)) {
		if (may_move(m, hole, i)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole].value = NULL;
	m->count--;
}

void map_each(const struct map *m, void (*each)(void *value, void *arg), void *arg)
{
	for (size_t i = 0; i < m->capacity; i++)
		if (m->slots[i].value)
			each(m->slots[i].value, arg);
}
