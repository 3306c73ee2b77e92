// What the guests of a pool share, now.
#pragma once

#include <stdint.h>

struct store;
struct report;

struct stat_figures {
	uint64_t guests;
	uint64_t objects;
	uint64_t variants;      // objects beyond the first with the same content and identity
	uint64_t unused;        // objects that nobody has a link to
	uint64_t unused_bytes;  // and what they take
	uint64_t links;         // names in guests that are links
	uint64_t elsewhere;     // further names of objects, in no guest that could be looked into
	uint64_t files;         // names in guests that are no directories
	uint64_t disk_bytes;    // that objects with links take
	uint64_t disk_saved;    // bytes: for each object, what it takes × (links - 1)
	uint64_t ram_bytes;     // of objects in the page cache
	uint64_t ram_saved;  // bytes: for each object, what of it is in the page cache × (guests with a link
			     // - 1)
	uint64_t quarantined;  // objects in quarantine; no other figure has them
	uint64_t errors;       // directories and objects that could not be read
};

// Looks at all guests of @pool and all objects of @s. -ENOMEM, or the error of reading the store.
int stat_pool(int pool, struct store *s, struct report *report, struct stat_figures *ret);
