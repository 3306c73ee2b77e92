// How much more each part of the identity that could be ignored would free: an estimate, so that the user can
// decide. Files of one size and name that differ in nothing else are taken to have the same content.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "hashify/filter.h"
#include "hashify/tree.h"

struct whatif {
	uint64_t mtime, owner, mode;  // bytes
};

// What of @st tells files apart, as it is kept for each of them.
uint32_t whatif_traits(const struct stat *st);

// Adds what the files of @c would free to @ret. -ENOMEM.
int whatif_add(const struct classes *c, struct whatif *ret);
