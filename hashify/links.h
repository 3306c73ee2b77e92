// The links that a worker has made. A guest's own file may yet be put back under its name, until the replacer
// is flushed: that link is no longer counted then.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "hashify/reader.h"
#include "hashify/reason.h"

struct replacer;
struct report;

struct links {
	const struct tree *trees;  // borrowed, as all but the list
	struct reader *reader;
	struct report *report;
	struct tally *tally;
	struct replacer *replacer;  // NULL: a dry run
	struct links_one *list;     // owned
	size_t count;
	int error;  // the first of a flush
};

// Takes what it borrows from @l. -ENOMEM.
int links_init(struct links *l);
void links_destroy(struct links *l);

// Counts the link that the file of @r has become, which had all its blocks to itself; now and then flushes.
void links_count(struct links *l, const struct reading *r);

// Flushes the replacer, and takes back what was put back.
void links_flush(struct links *l);
