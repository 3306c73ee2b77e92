#include "hashify/known.h"

#include "hashify/shards.h"
#include "store/base/array.h"
#include "store/base/thread.h"
#include "store/object.h"
#include "store/quarantine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// How many fields of an object are looked at.
enum depth { BY_SIZE = 1, BY_IDENTITY, BY_DIGEST, BY_VARIANT };

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare(const struct known_object *a, const struct known_object *b, enum depth depth)
{
	int r = compare_u64(a->key.size, b->key.size);
	if (r == 0 && depth >= BY_IDENTITY)
		r = compare_u64(a->identity, b->identity);
	if (r == 0 && depth >= BY_DIGEST)
		r = compare_u64(a->key.digest.high, b->key.digest.high);
	if (r == 0 && depth >= BY_DIGEST)
		r = compare_u64(a->key.digest.low, b->key.digest.low);
	if (r == 0 && depth >= BY_VARIANT)
		r = compare_u64(a->key.identity, b->key.identity);
	if (r == 0 && depth >= BY_VARIANT)
		r = compare_u64(a->key.variant, b->key.variant);
	return r;
}

static int compare_objects(const void *a, const void *b)
{
	return compare(a, b, BY_VARIANT);
}

// What one thread loads.
struct loading {
	struct store *store;
	struct shards *shards;  // borrowed; NULL: all are read, in one part
	struct shards_part part;
	bool quarantined;  // not objects, but what is in quarantine
	bool any_identity;
	pthread_t thread;
	struct known_object *objects;  // owned
	size_t count, capacity;
	uint64_t foreign;
	int error;
};

static int add_object(const struct object_key *key, const struct stat *st, void *arg)
{
	struct loading *l = arg;
	struct known_object *objects = array_grow(l->objects, l->count, &l->capacity, sizeof(*objects));
	if (!objects)
		return -ENOMEM;
	l->objects = objects;
	l->objects[l->count++] = (struct known_object){
		.key = *key,
		.ino = st->st_ino,
		.identity = l->any_identity ? 0 : key->identity,
	};
	return 0;
}

static void *load_part(void *arg)
{
	struct loading *l = arg;
	if (l->quarantined)
		l->error = quarantine_each(l->store, add_object, l, &l->foreign);
	else if (l->shards)
		l->error = shards_each(l->shards, l->store, l->part, add_object, l, &l->foreign);
	else
		l->error = object_each(l->store, false, add_object, l, &l->foreign);
	return NULL;
}

// The parts together, in order. They are used up.
static int join_parts(struct loading *parts, unsigned count, struct known *k)
{
	struct shards *shards = parts[0].shards;
	int r = 0;
	size_t total = 0;
	for (unsigned i = 0; i < count; i++) {
		total += parts[i].count;
		k->foreign += parts[i].foreign;
		r = r < 0 ? r : parts[i].error;
	}
	k->objects = malloc((total + 1) * sizeof(*k->objects));
	if (!k->objects)
		r = -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		if (k->objects && parts[i].count > 0)
			memcpy(&k->objects[k->count], parts[i].objects, parts[i].count * sizeof(*k->objects));
		k->count += parts[i].count;
		free(parts[i].objects);
	}
	if (r == 0 && shards)
		shards_end(shards, k->objects, k->count);
	if (r == 0)
		qsort(k->objects, k->count, sizeof(*k->objects), compare_objects);
	return r;
}

static int load_parts(struct loading *parts, unsigned count, struct known *k)
{
	int r = 0;
	unsigned started = 0;
	while (started < count && r == 0) {
		r = thread_start(&parts[started].thread, "objects", load_part, &parts[started]);
		started += r == 0;
	}
	for (unsigned i = 0; i < started; i++)
		thread_join(parts[i].thread);
	for (unsigned i = started; i < count; i++)  // no more threads are to be had
		load_part(&parts[i]);
	return join_parts(parts, count, k);
}

static int load_objects(struct store *s, struct shards *shards, unsigned threads, struct known *k)
{
	assert(shards || threads == 1);
	struct loading *parts = calloc(threads, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	for (unsigned i = 0; i < threads; i++)
		parts[i] = (struct loading){
			.store = s,
			.shards = shards,
			.part = { i, threads },
			.any_identity = k->any_identity,
		};
	int r = load_parts(parts, threads, k);
	free(parts);
	return r;
}

// Takes @k, and leaves it empty when it fails.
static int map_inodes(struct known *k, struct known *ret)
{
	for (size_t i = 0; i < k->count; i++) {
		int r = map_reserve(&k->by_ino);
		if (r < 0) {
			known_free(k);
			return r;
		}
		map_add(&k->by_ino, k->objects[i].ino, &k->objects[i]);
		k->inode_sum += digest_hash64(0, &k->objects[i].ino, sizeof(k->objects[i].ino));
	}
	*ret = *k;
	return 0;
}

// Takes @k, whose loading ended with @r.
static int finish(struct known *k, int r, struct known *ret)
{
	if (r < 0) {
		known_free(k);
		return r;
	}
	return map_inodes(k, ret);
}

int known_load(struct store *s, struct shards *shards, bool any_identity, unsigned threads, struct known *ret)
{
	struct known k = { .any_identity = any_identity };
	int r = s ? load_objects(s, shards, threads, &k) : 0;
	return finish(&k, r, ret);
}

int known_load_linked(struct store *s, struct known *ret)
{
	struct loading parts[] = { { .store = s }, { .store = s, .quarantined = true } };
	struct known k = { 0 };
	int r = load_parts(parts, 2, &k);
	return finish(&k, r, ret);
}

int known_load_quarantined(struct store *s, struct known *ret)
{
	struct loading part = { .store = s, .quarantined = true };
	struct known k = { 0 };
	int r = s ? load_parts(&part, 1, &k) : 0;
	return finish(&k, r, ret);
}

int known_of(struct known_object *objects, size_t count, struct known *ret)
{
	struct known k = { .objects = objects, .count = count };
	return map_inodes(&k, ret);
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

// The first object that is not before @wanted.
static size_t lower_bound(const struct known *k, const struct known_object *wanted, enum depth depth)
{
	size_t low = 0, high = k->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare(&k->objects[middle], wanted, depth) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

// How many objects agree with @wanted; *@ret_first is the index of the first.
static size_t range(const struct known *k, const struct known_object *wanted, enum depth depth, size_t limit,
		    size_t *ret_first)
{
	size_t first = lower_bound(k, wanted, depth);
	size_t end = first;
	while (end < k->count && end - first < limit && compare(&k->objects[end], wanted, depth) == 0)
		end++;
	*ret_first = first;
	return end - first;
}

static struct known_object wanted(const struct known *k, uint64_t size, uint64_t identity)
{
	return (struct known_object){ .key.size = size, .identity = k->any_identity ? 0 : identity };
}

bool known_size(const struct known *k, uint64_t size)
{
	const struct known_object w = wanted(k, size, 0);
	size_t first;
	return range(k, &w, BY_SIZE, 1, &first) > 0;
}

const struct known_object *known_sized(const struct known *k, uint64_t size, size_t limit, size_t *ret_count)
{
	const struct known_object w = wanted(k, size, 0);
	size_t first;
	*ret_count = range(k, &w, BY_SIZE, limit, &first);
	return *ret_count > 0 ? &k->objects[first] : NULL;
}

bool known_identity(const struct known *k, uint64_t size, uint64_t identity)
{
	const struct known_object w = wanted(k, size, identity);
	size_t first;
	return range(k, &w, BY_IDENTITY, 1, &first) > 0;
}

const struct known_object *known_only(const struct known *k, uint64_t size, uint64_t identity)
{
	const struct known_object w = wanted(k, size, identity);
	size_t first;
	return range(k, &w, BY_IDENTITY, 2, &first) == 1 ? &k->objects[first] : NULL;
}

const struct known_object *known_variants(const struct known *k, uint64_t size, uint64_t identity,
					  struct digest digest, size_t *ret_count)
{
	struct known_object w = wanted(k, size, identity);
	size_t first;
	w.key.digest = digest;
	*ret_count = range(k, &w, BY_DIGEST, k->count, &first);
	return *ret_count > 0 ? &k->objects[first] : NULL;
}
