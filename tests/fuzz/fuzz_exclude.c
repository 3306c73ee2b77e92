// Patterns of a guest, and its names: the text up to the first NUL is a file of patterns, the rest a path.
#include <stdlib.h>
#include <string.h>

#include "hashify/exclude.h"
#include "tests/fuzz/fuzz.h"

static void go_down(const struct exclude *x, char *path)
{
	struct exclude_stack s = { 0 };
	size_t from = 0;

	fuzz_check(exclude_push_root(x, &s) == 0);
	for (char *name = path, *slash; name; name = slash) {
		slash = strchr(name, '/');
		if (slash)
			*slash++ = '\0';
		size_t to = s.count;
		exclude_match(x, &s, from, to, name, slash);
		fuzz_check(exclude_push(&s, from, to, name) == 0);
		from = to;
	}
	exclude_stack_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, '\0', size);
	size_t text = end ? (size_t)(end - data) : size;
	char *path = calloc(1, size - text + 1);
	struct exclude *x = exclude_new();

	if (text < size)
		memcpy(path, data + text + 1, size - text - 1);
	fuzz_check(x && exclude_add_text(x, (const char *)data, text) >= 0);
	go_down(x, path);
	exclude_free(x);
	free(path);
	return 0;
}
