// A list of names: of guests, or of files as paths in the pool.
#pragma once

#include <stddef.h>

// All zero: none.
struct names {
	char **list;  // owned, as is each name
	size_t count, capacity;
};

// Adds @name, which it takes; a NULL one is none for want of memory. -ENOMEM.
int names_add(struct names *n, char *name);

void names_sort(struct names *n);
void names_free(struct names *n);
