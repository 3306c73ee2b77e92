// Shell patterns for one name: * any bytes, ? one byte, [a-z] and [!a-z] one byte of a set, \ takes the next
// byte as it is. Names are bytes. Pattern and name may both be chosen by an enemy: a byte of a pattern costs
// some nanoseconds, whatever the name.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Longer names match no pattern; no filesystem that a pool can be on has any.
#define GLOB_NAME_MAX 255

// A set of places in a name: bit N is in front of its byte N, the last one behind them all.
#define GLOB_WORDS ((GLOB_NAME_MAX + 1) / 64)
struct glob_places {
	uint64_t words[GLOB_WORDS];
};

// A name, for any number of patterns.
struct glob_name {
	const char *text;  // borrowed
	size_t len;
	struct glob_places known;      // the rows of @upto that are filled
	struct glob_places upto[256];  // for each byte: the places in front of it or a lower one
};

void glob_name_init(struct glob_name *n, const char *name);

// Does @pattern, @len bytes, match the whole of @n?
bool glob_match(const char *pattern, size_t len, struct glob_name *n);

// Is it one name as it stands, without any of * ? [ \ in it?
bool glob_is_literal(const char *pattern, size_t len);
