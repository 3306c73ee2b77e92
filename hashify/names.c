#include "hashify/names.h"

#include "store/base/array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int names_add(struct names *n, char *name)
{
	char **list = name ? array_grow(n->list, n->count, &n->capacity, sizeof(*list)) : NULL;
	if (!list) {
		free(name);
		return -ENOMEM;
	}
	n->list = list;
	n->list[n->count++] = name;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void names_sort(struct names *n)
{
	if (n->count > 0)
		qsort(n->list, n->count, sizeof(*n->list), compare);
}

void names_free(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->list[i]);
	free(n->list);
	*n = (struct names){ 0 };
}
