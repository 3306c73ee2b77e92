// The name of an object: everything needed to find it and to rebuild an index.
//
//	objects/3f2/3f2a…(32 hex digits)-1a40-9be02d6a11c2f0d7-0
//	            digest               size identity        variant
//
// Sizes and variants are lower-case hexadecimal without leading zeros, the others have a fixed width. Byte
// for byte as in docs/format.md.
#pragma once

#include <stdint.h>

#include "store/digest.h"

struct object_key {
	struct digest digest;
	uint64_t size;      // bytes of content
	uint64_t identity;  // identity.h
	uint32_t variant;   // 0 first; the next for equal digests of other bytes, and at the link limit
};

// The directories of objects, named by their digests' first digits.
#define OBJECT_SHARDS 4096
#define OBJECT_SHARD_DIGITS 3

// The longest name, with its NUL.
#define OBJECT_NAME_SIZE 76

// The longest path in the store, "objects/abc/" and the name, with its NUL.
#define OBJECT_PATH_SIZE (12 + OBJECT_NAME_SIZE)

void object_name_print(const struct object_key *key, char ret[OBJECT_NAME_SIZE]);
void object_path_print(const struct object_key *key, char ret[OBJECT_PATH_SIZE]);

// Parses exactly what object_name_print() prints. -EINVAL: anything else.
int object_name_parse(const char *name, struct object_key *ret);
