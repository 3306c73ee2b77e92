// Shell patterns for one name: * any bytes, ? one byte, [a-z] and [!a-z] one byte of a set, \ takes the next
// byte as it is. Names are bytes. Pattern and name may both be chosen by an enemy: the time is at most their
// lengths multiplied.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// Does @pattern, @len bytes, match the whole of @name?
bool glob_match(const char *pattern, size_t len, const char *name);

// Is it one name as it stands, without any of * ? [ \ in it?
bool glob_is_literal(const char *pattern, size_t len);
