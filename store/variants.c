#include "store/variants.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/base/array.h"
#include "store/displaced.h"
#include "store/object.h"
#include "store/quarantine.h"

struct search {
	const struct object_key *key;
	struct variants found;
};

static bool is_variant(const struct object_key *a, const struct object_key *b)
{
	return digest_equal(a->digest, b->digest) && a->size == b->size && a->identity == b->identity;
}

static int add_variant(const struct object_key *key, const struct stat *st, void *arg)
{
	struct search *x = arg;
	struct variants *v = &x->found;

	if (!is_variant(key, x->key))
		return 0;
	uint64_t *inodes = array_grow(v->inodes, v->count, &v->capacity, sizeof(*inodes));
	if (!inodes)
		return -ENOMEM;
	v->inodes = inodes;
	v->inodes[v->count++] = st->st_ino;
	return 0;
}

static int find_objects(struct store *s, struct search *x)
{
	char shard[OBJECT_NAME_SIZE];
	uint64_t foreign = 0;

	object_name_print(x->key, shard);
	shard[OBJECT_SHARD_DIGITS] = '\0';
	return object_each_in(s, shard, add_variant, x, &foreign);
}

int variants_find(struct store *s, const struct object_key *key, struct variants *ret)
{
	struct search x = { .key = key };
	uint64_t foreign = 0;

	int r = find_objects(s, &x);
	if (!displaced_is_transient(r))
		r = quarantine_each(s, add_variant, &x, &foreign);
	if (displaced_is_transient(r)) {
		variants_free(&x.found);
		return r;
	}
	*ret = x.found;
	return 0;
}

bool variants_have(const struct variants *v, uint64_t ino)
{
	for (size_t i = 0; i < v->count; i++)
		if (v->inodes[i] == ino)
			return true;
	return false;
}

void variants_free(struct variants *v)
{
	free(v->inodes);
	*v = (struct variants){ 0 };
}
