#include "hashify/group.h"

#include "store/base/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static bool is_group(const void *value, const void *arg)
{
	const struct group *g = value;
	const struct reading *r = arg;
	return g->size == r->file->size && g->identity == r->identity && digest_equal(g->digest, r->digest);
}

static void free_group(struct groups *g, struct group *group)
{
	while (group->targets) {
		struct target *t = group->targets;
		group->targets = t->next;
		groups_close(g, t);
		free(t);
	}
	while (group->firsts) {
		struct first *f = group->firsts;
		group->firsts = f->next;
		free(f);
	}
	free(group);
}

// Variants are tried from the lowest on, each until it is full: so a name that became free in an old one is
// used again.
static int add_known(struct groups *g, struct group *group)
{
	const struct object_key key = { .digest = group->digest,
					.size = group->size,
					.identity = group->identity };
	size_t count;
	const struct known_object *objects = known_variants(g->known, &key, &count);
	while (count-- > 0)
		if (!groups_add_target(g, group, &objects[count].key, &(struct reading){ .claim.fd = -1 }))
			return -ENOMEM;
	return 0;
}

struct group *groups_of(struct groups *g, const struct reading *r)
{
	uint64_t key = r->digest.low ^ r->identity;
	struct group *group = map_find(&g->map, key, is_group, r);
	if (group)
		return group;

	group = calloc(1, sizeof(*group));
	if (!group)
		return NULL;
	*group = (struct group){ .size = r->file->size, .digest = r->digest, .identity = r->identity };
	if (map_reserve(&g->map) < 0 || add_known(g, group) < 0) {
		free_group(g, group);
		return NULL;
	}
	map_add(&g->map, key, group);
	group->next = g->all;
	g->all = group;
	return group;
}

struct target *groups_add_target(struct groups *g, struct group *group, const struct object_key *key,
				 const struct reading *reading)
{
	struct target *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->key = *key;
	t->slot = -1;
	t->next = group->targets;
	group->targets = t;
	if (reading->claim.fd >= 0)
		groups_set_open(g, t, reading);
	return t;
}

void groups_set_open(struct groups *g, struct target *t, const struct reading *reading)
{
	unsigned slot = g->open_next++ % GROUPS_OPEN_TARGETS;
	struct open_target *open = &g->open[slot];
	if (open->target)
		groups_close(g, open->target);
	*open = (struct open_target){ .target = t, .reading = *reading };
	t->slot = (int)slot;
}

struct reading *groups_reading(struct groups *g, const struct target *t)
{
	assert(t->slot >= 0 && g->open[t->slot].target == t);
	return &g->open[t->slot].reading;
}

void groups_close(struct groups *g, struct target *t)
{
	if (t->slot < 0)
		return;
	reader_close(groups_reading(g, t));
	g->open[t->slot].target = NULL;
	t->slot = -1;
}

int group_add_first(struct group *group, const struct reading *r)
{
	struct first *f = malloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	*f = (struct first){ .next = group->firsts, .file = r->file, .ctime = r->claim.st.st_ctim };
	group->firsts = f;
	return 0;
}

uint32_t group_free_variant(const struct group *group)
{
	uint32_t variant = 0;
	for (const struct target *t = group->targets; t;) {
		bool taken = t->key.variant == variant;
		variant += taken;
		t = taken ? group->targets : t->next;  // from the start again: they are in no order
	}
	return variant;
}

void groups_clear(struct groups *g)
{
	while (g->all) {
		struct group *group = g->all;
		g->all = group->next;
		free_group(g, group);
	}
	map_free(&g->map);
	g->map = (struct map){ 0 };
}
