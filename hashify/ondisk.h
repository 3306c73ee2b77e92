// Has the disk what memory has of a file? What is on the disk must not go for what is in memory alone.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hashify/durable.h"
#include "hashify/group.h"
#include "hashify/reason.h"

struct ondisk {
	struct durable *durable;  // borrowed, as the others
	struct reader *reader;
	uint64_t *reread;  // grows by the bytes that are read to see it
	bool dry_run;      // nothing is written back or dropped
	bool is_tmpfs;
};

// Renews @r (reader.h), unless memory may have what the disk has not, which it must not lose.
void ondisk_renew(const struct ondisk *o, struct reading *r);

// Renews @t's file, open as @r, and if that makes it fresh hashes it: whoever holds a page of it may have
// written to it since that was done, and an object's name would lie. -ESTALE: it has another digest now.
int ondisk_read_again(const struct ondisk *o, const struct target *t, struct reading *r);

// Will the file of @r be as fresh as it is when it was closed and is opened again, with the same status?
// Before a page of it is held to be written, its times move; but not on tmpfs.
bool ondisk_stays_fresh(const struct ondisk *o, const struct reading *r);

// Sees to it that the data of @t's file, open as @r, are on the disk: others' that are there will go for it.
// Where writing back has failed lately, what memory has is no proof. REASON_NONE: they are.
enum reason ondisk_make(const struct ondisk *o, const struct target *t, const struct reading *r,
			int *ret_err);

// The same of an object that was there before. Where nobody is unsure, the pass that made it saw to it. 0, or
// the error of reading it; -EIO: the disk has something else.
int ondisk_find(const struct ondisk *o, struct target *t, const struct reading *r);
