#include "hashify/known.h"

#include "store/object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// How many fields of a key are looked at.
enum depth { BY_SIZE = 1, BY_IDENTITY, BY_DIGEST, BY_VARIANT };

static int compare(const struct object_key *a, const struct object_key *b, enum depth depth)
{
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	if (depth >= BY_IDENTITY && a->identity != b->identity)
		return a->identity < b->identity ? -1 : 1;
	if (depth < BY_DIGEST)
		return 0;
	if (a->digest.high != b->digest.high)
		return a->digest.high < b->digest.high ? -1 : 1;
	if (a->digest.low != b->digest.low)
		return a->digest.low < b->digest.low ? -1 : 1;
	if (depth >= BY_VARIANT && a->variant != b->variant)
		return a->variant < b->variant ? -1 : 1;
	return 0;
}

static int compare_objects(const void *a, const void *b)
{
	return compare(&((const struct known_object *)a)->key, &((const struct known_object *)b)->key,
		       BY_VARIANT);
}

struct loading {
	struct known *known;
	size_t capacity;
};

static int add_object(const struct object_key *key, const struct stat *st, void *arg)
{
	struct loading *l = arg;
	struct known *k = l->known;
	if (k->count == l->capacity) {
		size_t capacity = l->capacity ? l->capacity * 2 : 1024;
		struct known_object *objects = reallocarray(k->objects, capacity, sizeof(*objects));
		if (!objects)
			return -ENOMEM;
		k->objects = objects;
		l->capacity = capacity;
	}
	k->objects[k->count++] = (struct known_object){ .key = *key, .ino = st->st_ino };
	return 0;
}

int known_load(struct store *s, struct known *ret)
{
	struct known k = { 0 };
	struct loading l = { .known = &k };
	int r = s ? object_each(s, false, add_object, &l, &k.foreign) : 0;
	if (k.count > 0)
		qsort(k.objects, k.count, sizeof(*k.objects), compare_objects);
	for (size_t i = 0; i < k.count && r >= 0; i++) {
		r = map_reserve(&k.by_ino);
		if (r >= 0)
			map_add(&k.by_ino, k.objects[i].ino, &k.objects[i]);
	}
	if (r < 0) {
		known_free(&k);
		return r;
	}
	*ret = k;
	return 0;
}

void known_free(struct known *k)
{
	map_free(&k->by_ino);
	free(k->objects);
	*k = (struct known){ 0 };
}

const struct known_object *known_ino(const struct known *k, uint64_t ino)
{
	return k->count > 0 ? map_find(&k->by_ino, ino, NULL, NULL) : NULL;
}

// The first object that is not before @key.
static size_t lower_bound(const struct known *k, const struct object_key *key, enum depth depth)
{
	size_t low = 0, high = k->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare(&k->objects[middle].key, key, depth) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool exists(const struct known *k, const struct object_key *key, enum depth depth)
{
	size_t i = lower_bound(k, key, depth);
	return i < k->count && compare(&k->objects[i].key, key, depth) == 0;
}

bool known_size(const struct known *k, uint64_t size)
{
	return exists(k, &(struct object_key){ .size = size }, BY_SIZE);
}

bool known_identity(const struct known *k, uint64_t size, uint64_t identity)
{
	return exists(k, &(struct object_key){ .size = size, .identity = identity }, BY_IDENTITY);
}

const struct known_object *known_variants(const struct known *k, const struct object_key *key,
					  size_t *ret_count)
{
	size_t first = lower_bound(k, key, BY_DIGEST);
	size_t end = first;
	while (end < k->count && compare(&k->objects[end].key, key, BY_DIGEST) == 0)
		end++;
	*ret_count = end - first;
	return end > first ? &k->objects[first] : NULL;
}
