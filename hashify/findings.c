#include "hashify/findings.h"

#include "hashify/guests.h"
#include "hashify/known.h"
#include "hashify/report.h"
#include "hashify/walk.h"
#include "store/base/array.h"

#include <errno.h>
#include <stdlib.h>

int findings_add(struct findings *f, const struct finding *finding)
{
	struct finding *list = array_grow(f->list, f->count, &f->capacity, sizeof(*list));
	if (!list)
		return -ENOMEM;
	f->list = list;
	f->list[f->count++] = *finding;
	return 0;
}

void findings_free(struct findings *f)
{
	for (size_t i = 0; i < f->count; i++)
		names_free(&f->list[i].names);
	free(f->list);
	*f = (struct findings){ 0 };
}

struct search {
	struct findings *findings;
	struct known known;  // the objects of the findings, in the same order
	int error;
};

static void on_link(const struct known_object *object, const struct report_place *place, void *arg)
{
	struct search *s = arg;
	struct finding *f = &s->findings->list[object - s->known.objects];
	int r = names_add(&f->names, tree_path(place->tree, place->dir, place->name));
	if (r < 0)
		s->error = r;
}

static int load(struct search *s)
{
	const struct findings *f = s->findings;
	struct known_object *objects = calloc(f->count + 1, sizeof(*objects));
	if (!objects)
		return -ENOMEM;
	for (size_t i = 0; i < f->count; i++)
		objects[i] = (struct known_object){ .key = f->list[i].key, .ino = f->list[i].ino };
	return known_of(objects, f->count, &s->known);
}

int findings_find_names(struct findings *f, int pool, dev_t dev, struct report *report, uint64_t *ret_errors)
{
	struct search s = { .findings = f };
	struct tally tally = { 0 };
	const struct walk walk = {
		.known = &s.known,
		.report = report,
		.dev = dev,
		.links_only = true,
		.on_link = on_link,
		.arg = &s,
	};
	int64_t r = load(&s);
	if (r == 0)
		r = guests_walk_links(&walk, pool, &tally);
	known_free(&s.known);
	*ret_errors += tally_errors(&tally);
	f->is_covered = tally.skipped[REASON_MOUNT] > 0;
	for (size_t i = 0; i < f->count; i++)
		names_sort(&f->list[i].names);
	return r < 0 ? (int)r : s.error;
}
