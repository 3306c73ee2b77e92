#include "hashify/field.h"

#include "store/identity.h"

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
