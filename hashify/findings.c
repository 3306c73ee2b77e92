#include "hashify/findings.h"

#include "hashify/known.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/walk.h"
#include "store/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int findings_add(struct findings *f, const struct finding *finding)
{
	if (f->count == f->capacity) {
		size_t capacity = f->capacity ? f->capacity * 2 : 16;
		struct finding *list = reallocarray(f->list, capacity, sizeof(*list));
		if (!list)
			return -ENOMEM;
		f->list = list;
		f->capacity = capacity;
	}
	f->list[f->count++] = *finding;
	return 0;
}

void findings_free(struct findings *f)
{
	for (size_t i = 0; i < f->count; i++) {
		for (size_t n = 0; n < f->list[i].name_count; n++)
			free(f->list[i].names[n]);
		free(f->list[i].names);
	}
	free(f->list);
	*f = (struct findings){ 0 };
}

struct search {
	struct findings *findings;
	struct known known;  // the objects of the findings, in the same order
	int error;
};

static int add_name(struct finding *f, const struct report_place *place)
{
	if (f->name_count == f->name_capacity) {
		size_t capacity = f->name_capacity ? f->name_capacity * 2 : 16;
		char **names = reallocarray(f->names, capacity, sizeof(*names));
		if (!names)
			return -ENOMEM;
		f->names = names;
		f->name_capacity = capacity;
	}
	char *path = tree_path(place->tree, place->dir, place->name);
	if (!path)
		return -ENOMEM;
	f->names[f->name_count++] = path;
	return 0;
}

static void on_link(const struct known_object *object, const struct report_place *place, void *arg)
{
	struct search *s = arg;
	int r = add_name(&s->findings->list[object - s->known.objects], place);
	if (r < 0)
		s->error = r;
}

static int load(struct search *s)
{
	const struct findings *f = s->findings;
	s->known.objects = calloc(f->count + 1, sizeof(*s->known.objects));
	if (!s->known.objects)
		return -ENOMEM;
	for (size_t i = 0; i < f->count; i++) {
		struct known_object *object = &s->known.objects[s->known.count++];
		*object = (struct known_object){ .key = f->list[i].key, .ino = f->list[i].ino };
		int r = map_reserve(&s->known.by_ino);
		if (r < 0)
			return r;
		map_add(&s->known.by_ino, object->ino, object);
	}
	return 0;
}

static int walk_all(struct search *s, int pool, const struct walk *walk, uint64_t *ret_errors)
{
	struct tree *trees;
	size_t count;
	int r = walk_guests(pool, NULL, &trees, &count);
	if (r < 0)
		return r;

	struct tally tally = { 0 };
	for (size_t i = 0; i < count; i++) {
		if (r == 0 && !stop_asked())
			r = walk_guest(walk, pool, &trees[i], &tally);
		if (r == 0)
			r = s->error;
		tree_free(&trees[i]);
	}
	free(trees);
	*ret_errors += tally_errors(&tally);
	return r;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int findings_find_names(struct findings *f, int pool, dev_t dev, struct report *report, uint64_t *ret_errors)
{
	struct search s = { .findings = f };
	const struct walk walk = {
		.known = &s.known,
		.report = report,
		.dev = dev,
		.links_only = true,
		.on_link = on_link,
		.arg = &s,
	};
	int r = load(&s);
	if (r == 0)
		r = walk_all(&s, pool, &walk, ret_errors);
	known_free(&s.known);
	for (size_t i = 0; i < f->count; i++)
		if (f->list[i].name_count > 0)
			qsort(f->list[i].names, f->list[i].name_count, sizeof(char *), compare_names);
	return r;
}
