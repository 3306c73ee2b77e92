// The parts of a file's identity by the names that users know them by.
#pragma once

#include <stddef.h>
#include <stdio.h>

struct field {
	unsigned bit;      // of enum identity_field
	const char *key;   // in --ignore and in JSON
	const char *text;  // in sentences
};

#define FIELD_COUNT 4
extern const struct field fields[FIELD_COUNT];

// The bit of the field whose key are the @len bytes at @key; 0: there is none.
unsigned field_find(const char *key, size_t len);

// Prints the keys of the fields @set, or their texts, each between two of @quote.
void field_print_keys(FILE *f, unsigned set, const char *between, const char *quote);
void field_print_texts(FILE *f, unsigned set, const char *between);
