// Names and numbers for people and for programs. Names are bytes that a guest chose.
#pragma once

#include <stdint.h>
#include <stdio.h>

// @name with everything that is no printable UTF-8 as \xHH, so that it can neither steer a terminal nor forge
// a line; what is very long loses its middle. The caller frees it. NULL: no memory.
char *text_printable(const char *name);

// Writes @name as a JSON string; bytes that are no UTF-8 become U+FFFD.
void text_json(FILE *f, const char *name);

// Writes the name of @signal, SIGINT or SIGTERM, as a JSON string; 0 as null.
void text_json_signal(FILE *f, int signal);

// "1.5 GiB", "17 bytes".
struct text_size {
	char text[24];
};
struct text_size text_size(uint64_t bytes);

// The word for @count of them: "guest" or "guests".
const char *text_plural(uint64_t count, const char *one, const char *many);

// Reads "512", "10M": bytes, or with K, M, G or T as many powers of 1024. -EINVAL: it is something else, or
// 0; -ERANGE: there are no such numbers.
int text_parse_size(const char *s, uint64_t *ret);
