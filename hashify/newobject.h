// What is made an object: a guest's file itself, or a copy of it where somebody may yet write to the file.
#pragma once

#include <stdbool.h>

#include "hashify/reader.h"
#include "store/name.h"

struct store;

// May the file of @r, which is fresh (reader.h), be an object itself? Not if its pages are no page cache's
// (DAX); nor if it is a clone on XFS, where a page of the other file may be held, and is written to the block
// that both have then (copy.h).
bool newobject_may_be(const struct store *s, const struct reading *r);

// Makes the file of @r the object @key, which becomes the next variant if need be. -ESTALE: it has changed.
int newobject_of_file(struct store *s, const struct reading *r, struct object_key *key);

// Makes a copy of the file of @r that object, on the disk, and opens it. It has the content that @key tells;
// whether that is still the file's, compare. -ESTALE: it is not; or as of reader_look_around().
int newobject_of_copy(struct store *s, struct reader *reader, const struct reading *r, struct object_key *key,
		      struct reading *ret);

// What @object is, made just now, is none, as nothing could be linked to it; unless something may be.
void newobject_forget(struct store *s, const struct reading *object, const struct object_key *key);
