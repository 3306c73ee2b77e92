// What is made an object: a guest's file itself, or a copy of it where somebody may yet write to the file.
#pragma once

#include <stdbool.h>

#include "hashify/reader.h"
#include "store/name.h"

struct store;

// Can nobody write to the file of @r, claimed and written back, as long as it is claimed? Drops all of it
// from the page cache to see that, and brings back what was there, which is @pages. A direct read into a
// mapping writes to its pages for as long as it takes, when mapping and descriptor are gone already, and no
// lease tells of that; but such pages cannot be dropped (mapping_evict_folio() in the kernel's
// mm/truncate.c).
bool newobject_may_be(const struct reading *r, const struct pages *pages);

// Makes the file of @r the object @key, which becomes the next variant if need be. -ESTALE: it has changed.
int newobject_of_file(struct store *s, const struct reading *r, struct object_key *key);

// Makes a copy of the file of @r that object, with @flush on the disk, and opens it. It has the content that
// the digest in @key tells; whether that is still the file's, compare. -ESTALE: the file has changed.
int newobject_of_copy(struct store *s, struct reader *reader, const struct reading *r, bool flush,
		      struct object_key *key, struct reading *ret);
