// Has the disk what memory has of a file? What is on the disk must not go for what is in memory alone.
#pragma once

#include <stdint.h>

#include "hashify/durable.h"
#include "hashify/group.h"
#include "hashify/reason.h"

struct ondisk {
	struct durable *durable;  // borrowed, as the others
	struct reader *reader;
	uint64_t *reread;  // grows by the bytes that are read to see it
};

// Sees to it that the data of @t's file, open as @r, are on the disk: others' that are there will go for it.
// Where writing back has failed lately, what memory has is no proof. REASON_NONE: they are.
enum reason ondisk_make(const struct ondisk *o, const struct target *t, const struct reading *r,
			int *ret_err);

// The same of an object that was there before. Where nobody is unsure, the pass that made it saw to it. 0, or
// the error of reading it; -EIO: the disk has something else.
int ondisk_find(const struct ondisk *o, struct target *t, const struct reading *r);
