#include "store/base/array.h"

#include <stdlib.h>

#define FIRST_CAPACITY 16

void *array_grow(void *array, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return array;
	size_t larger = *capacity ? *capacity * 2 : FIRST_CAPACITY;
	void *grown = reallocarray(array, larger, size);
	if (grown)
		*capacity = larger;
	return grown;
}
