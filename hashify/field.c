#include "hashify/field.h"

#include "store/identity.h"

#include <stdbool.h>
#include <string.h>

const struct field fields[FIELD_COUNT] = {
	{ IDENTITY_MTIME, "mtime", "modification time" },
	{ IDENTITY_OWNER, "owner", "owner or group" },
	{ IDENTITY_MODE, "mode", "mode" },
	{ IDENTITY_XATTRS, "xattr", "extended attributes or ACL" },
};

unsigned field_find(const char *key, size_t len)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (strlen(fields[i].key) == len && memcmp(fields[i].key, key, len) == 0)
			return fields[i].bit;
	return 0;
}

static void print(FILE *f, unsigned set, bool as_keys, const char *between, const char *quote)
{
	const char *before = "";
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		if (!(set & fields[i].bit))
			continue;
		fprintf(f, "%s%s%s%s", before, quote, as_keys ? fields[i].key : fields[i].text, quote);
		before = between;
	}
}

void field_print_keys(FILE *f, unsigned set, const char *between, const char *quote)
{
	print(f, set, true, between, quote);
}

void field_print_texts(FILE *f, unsigned set, const char *between)
{
	print(f, set, false, between, "");
}
