// Arrays that grow.
#pragma once

#include <stddef.h>

// Makes room for one more element in @array, which has @count of @size bytes and takes *@capacity; NULL and 0
// are an empty one. Returns the array, which may have moved, or NULL: no memory, and @array stays as it is.
void *array_grow(void *array, size_t count, size_t *capacity, size_t size);
