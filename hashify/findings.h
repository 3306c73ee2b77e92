// Damaged objects, and the guests' names that are links to them: whoever reads one of these names reads the
// damage.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "hashify/names.h"
#include "store/name.h"

struct report;

struct finding {
	struct object_key key;  // its name, in quarantine/ or objects/
	uint64_t ino;
	unsigned damage;     // enum damage; 0: not known any more, it was found by an earlier run
	bool quarantined;    // it is in quarantine/ now
	struct names names;  // owned; in order
};

// All zero: none.
struct findings {
	struct finding *list;  // owned
	size_t count, capacity;
	bool is_covered;  // something is mounted in a guest: what is beneath was not looked at
};

// Adds @finding, which has no names yet. -ENOMEM.
int findings_add(struct findings *f, const struct finding *finding);
void findings_free(struct findings *f);

// Looks through all guests of @pool for names of these inodes on the store's filesystem @dev. Directories
// that cannot be read are named, and counted in @ret_errors. -ENOMEM.
int findings_find_names(struct findings *f, int pool, dev_t dev, struct report *report, uint64_t *ret_errors);
