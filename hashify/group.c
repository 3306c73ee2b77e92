#include "hashify/group.h"

#include "store/base/cleanup.h"
#include "store/digest.h"
#include "store/identity.h"
#include "store/object.h"
#include "store/store.h"
#include "store/xattr.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// For an estimate that need not be whole.
#define XATTR_COMPARISONS 1000

static bool is_group(const void *value, const void *arg)
{
	const struct group *g = value, *wanted = arg;
	return g->size == wanted->size && g->identity == wanted->identity &&
	       digest_equal(g->digest, wanted->digest);
}

static void free_targets(struct groups *g, struct target *t)
{
	while (t) {
		struct target *next = t->next;
		groups_close(g, t);
		pages_free(&t->pages);
		free(t);
		t = next;
	}
}

static void free_group(struct groups *g, struct group *group)
{
	free_targets(g, group->targets);
	free_targets(g, group->refused);
	free(group);
}

// Where a part of the identity is ignored, the object's name does not tell. One that cannot be looked at is
// tried, and then said.
static bool may_be_of(const struct groups *g, const struct group *group, const struct known_object *o)
{
	struct xattr_set xattrs;
	struct stat st;

	if (!g->known->any_identity)
		return true;
	auto_close int fd = object_open(g->store, &o->key, &st);
	if (fd < 0 || xattr_read(fd, &xattrs) < 0)
		return true;
	bool same = identity_digest(g->store->seed, &st, &xattrs, g->ignored) == group->identity;
	xattr_free(&xattrs);
	return same;
}

// Variants are tried from the lowest on, each until it is full: so a name that became free in an old one is
// used again.
static int add_known(struct groups *g, struct group *group)
{
	size_t count;
	const struct known_object *objects = known_variants(g->known, group->size, group->identity,
							    group->digest, &count);
	while (count-- > 0) {
		if (!may_be_of(g, group, &objects[count]))
			continue;
		struct target *t = group_add(group, NULL);
		if (!t)
			return -ENOMEM;
		t->key = objects[count].key;
		t->is_object = true;
	}
	return 0;
}

struct group *groups_of(struct groups *g, uint64_t size, uint64_t identity, struct digest digest)
{
	const struct group wanted = { .size = size, .identity = identity, .digest = digest };
	uint64_t key = digest.low ^ identity;
	struct group *group = map_find(&g->map, key, is_group, &wanted);
	if (group)
		return group;

	group = malloc(sizeof(*group));
	if (!group)
		return NULL;
	*group = wanted;
	if (map_reserve(&g->map) < 0 || add_known(g, group) < 0) {
		free_group(g, group);
		return NULL;
	}
	map_add(&g->map, key, group);
	group->next = g->all;
	g->all = group;
	return group;
}

struct target *group_add(struct group *group, struct tree_file *file)
{
	struct target *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->group = group;
	t->file = file;
	t->slot = -1;
	t->next = group->targets;
	group->targets = t;
	return t;
}

void group_refuse(struct target *t)
{
	struct target **at = &t->group->targets;

	if (t->refused)
		return;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	t->next = t->group->refused;
	t->group->refused = t;
	t->refused = true;
}

static struct target **prediction(struct groups *g, const struct tree_file *f)
{
	return &g->predictions[digest_hash64(0, f->name, strlen(f->name)) % GROUPS_PREDICTIONS];
}

static bool may_equal(const struct target *t, const struct reading *r)
{
	return t && !t->full && !t->refused && t->group->identity == r->identity &&
	       t->group->size == (uint64_t)r->claim.st.st_size;
}

// The store's only object of this size and identity.
static struct target *only_known(struct groups *g, const struct reading *r)
{
	const struct known_object *o = known_only(g->known, (uint64_t)r->claim.st.st_size, r->identity);
	if (!o)
		return NULL;
	struct group *group = groups_of(g, o->key.size, r->identity, o->key.digest);
	return group && may_equal(group->targets, r) ? group->targets : NULL;
}

struct target *groups_predict(struct groups *g, const struct reading *r)
{
	struct target *t = *prediction(g, r->file);
	if (may_equal(t, r))
		return t;
	if (may_equal(g->latest, r))
		return g->latest;
	return only_known(g, r);
}

void groups_learn(struct groups *g, struct target *t, const struct tree_file *f)
{
	*prediction(g, f) = t;
	g->latest = t;
}

void groups_set_open(struct groups *g, struct target *t, struct reading *reading)
{
	unsigned slot = g->open_next++ % GROUPS_OPEN_TARGETS;
	struct open_target *open = &g->open[slot];
	if (open->target)
		groups_close(g, open->target);
	*open = (struct open_target){ .target = t, .reading = *reading };
	*reading = (struct reading){ .claim.fd = -1 };
	t->slot = (int)slot;
}

struct reading *groups_reading(struct groups *g, const struct target *t)
{
	assert(t->slot >= 0 && g->open[t->slot].target == t);
	return &g->open[t->slot].reading;
}

void groups_take_open(struct groups *g, struct target *t, struct reading *ret)
{
	*ret = *groups_reading(g, t);
	g->open[t->slot].target = NULL;
	t->slot = -1;
}

void groups_close(struct groups *g, struct target *t)
{
	struct reading reading;

	if (t->slot < 0)
		return;
	groups_take_open(g, t, &reading);
	reader_close(&reading);
}

void groups_close_all(struct groups *g)
{
	for (unsigned i = 0; i < GROUPS_OPEN_TARGETS; i++)
		if (g->open[i].target)
			groups_close(g, g->open[i].target);
}

void groups_close_wanted(struct groups *g)
{
	const struct open_target *open = &g->open[g->open_looked_at++ % GROUPS_OPEN_TARGETS];
	if (open->target && claim_is_broken(&open->reading.claim))
		groups_close(g, open->target);
}

uint32_t group_free_variant(const struct group *group)
{
	uint32_t variant = 0;
	for (const struct target *t = group->targets; t;) {
		bool taken = t->is_object && t->key.variant == variant;
		variant += taken;
		t = taken ? group->targets : t->next;  // from the start again: they are in no order
	}
	return variant;
}

// Is there a file of @group that could still become a link?
static bool has_file(const struct group *group, bool dry_run)
{
	for (const struct target *t = group->targets; t; t = t->next)
		if (t->file && (dry_run || !t->is_object))
			return true;
	return false;
}

// Has the pass made an object of it? Those that were there before whatif_has_twin() finds.
static bool has_object(const struct group *group, bool dry_run)
{
	for (const struct target *t = group->targets; t; t = t->next)
		if (t->is_object && t->file && !dry_run)
			return true;
	return false;
}

// In one class only xattrs make identities differ.
static bool is_same_but_xattrs(const struct group *a, const struct group *b)
{
	return a->identity != b->identity && a->rights == b->rights && digest_equal(a->digest, b->digest);
}

uint64_t groups_differ_in_xattrs(const struct groups *g, bool dry_run)
{
	uint64_t bytes = 0;
	size_t compared = 0;
	for (const struct group *x = g->all; x; x = x->next) {
		bool is_later = false, goes = false;
		for (const struct group *y = g->all; y && !goes && compared < XATTR_COMPARISONS;
		     y = y->next, compared++) {
			is_later = is_later || y == x;
			goes = is_same_but_xattrs(x, y) &&
			       (has_object(y, dry_run) || (is_later && has_file(y, dry_run)));
		}
		bytes += goes && has_file(x, dry_run) ? (x->size + 4095) / 4096 * 4096 : 0;
	}
	return bytes;
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
	g->latest = NULL;
	memset(g->predictions, 0, sizeof(g->predictions));
}
