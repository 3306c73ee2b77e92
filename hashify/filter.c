#include "hashify/filter.h"

#include "hashify/report.h"
#include "hashify/whatif.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

// By comparison, not by subtraction: these are 64 bits wide.
#define ORDER(a, b)                                                                                          \
	do {                                                                                                 \
		if ((a) != (b))                                                                              \
			return (a) < (b) ? -1 : 1;                                                           \
	} while (0)

static int compare_files(const void *pa, const void *pb)
{
	const struct tree_file *a = *(struct tree_file *const *)pa, *b = *(struct tree_file *const *)pb;
	ORDER(a->size, b->size);
	ORDER(a->class, b->class);
	ORDER(a->ino, b->ino);
	return 0;
}

static int compare_lists(const void *pa, const void *pb)
{
	const struct class *a = pa, *b = pb;
	ORDER(a->files[0]->ino, b->files[0]->ino);
	return 0;
}

struct filling {
	struct tree_file **next;
};

static void add_file(struct tree_file *f, void *arg)
{
	struct filling *filling = arg;
	*filling->next++ = f;
}

static size_t class_end(struct tree_file **files, size_t count, size_t first)
{
	size_t end = first + 1;
	while (end < count && tree_same_class(files[end], files[first]))
		end++;
	return end;
}

static bool is_wanted(const struct known *known, struct tree_file **files, size_t count)
{
	return count > 1 || known_size(known, files[0]->size);
}

static void skip_alone(const struct tree *trees, struct tree_file *f, struct report *report,
		       struct tally *tally)
{
	f->traits |= WHATIF_ALONE;
	const struct report_place place = report_place_of(trees, f);
	report_skip(report, tally, &place, REASON_ALONE, 0);
}

static int list_classes(const struct tree *trees, const struct known *known, struct report *report,
			struct tally *tally, size_t file_count, struct classes *c)
{
	size_t wanted = 0;
	for (size_t i = 0, end; i < file_count; i = end) {
		end = class_end(c->files, file_count, i);
		wanted += is_wanted(known, &c->files[i], end - i);
	}
	c->list = calloc(wanted + 1, sizeof(*c->list));
	if (!c->list)
		return -ENOMEM;

	for (size_t i = 0, end; i < file_count; i = end) {
		end = class_end(c->files, file_count, i);
		if (is_wanted(known, &c->files[i], end - i))
			c->list[c->count++] = (struct class){ &c->files[i], end - i };
		else
			skip_alone(trees, c->files[i], report, tally);
	}
	qsort(c->list, c->count, sizeof(*c->list), compare_lists);
	return 0;
}

int filter_classes(const struct tree *trees, size_t tree_count, const struct known *known,
		   struct report *report, struct tally *tally, struct classes *ret)
{
	size_t count = 0;
	for (size_t i = 0; i < tree_count; i++)
		count += trees[i].file_count;
	struct classes c = { .file_count = count, .files = calloc(count + 1, sizeof(struct tree_file *)) };
	if (!c.files)
		return -ENOMEM;

	struct filling filling = { .next = c.files };
	for (size_t i = 0; i < tree_count; i++)
		tree_each_file(&trees[i], add_file, &filling);
	qsort(c.files, count, sizeof(struct tree_file *), compare_files);

	int r = list_classes(trees, known, report, tally, count, &c);
	if (r < 0) {
		filter_free(&c);
		return r;
	}
	*ret = c;
	return 0;
}

void filter_free(struct classes *c)
{
	free(c->files);
	free(c->list);
	*c = (struct classes){ 0 };
}
