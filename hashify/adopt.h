// Makes guests' files objects and links. A class belongs to one worker, so no two make the same object;
// different classes never share an object.
//
// The order that makes a pass safe at any instant, and where a crash leaves things:
//
//	claim the file (a lease), hash it                  nothing has changed
//	make the first of two equal files the object       its inode has a second name, in the store
//	  after its data is on the disk (durable.h)
//	claim the object, compare bytes and identity       nothing has changed
//	replace the second by a link to it                 replace.h
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hashify/dirtimes.h"
#include "hashify/durable.h"
#include "hashify/group.h"
#include "hashify/hashed.h"
#include "hashify/reader.h"
#include "hashify/reason.h"

struct store;
struct report;
struct adopter;

// What all workers of a pass share.
struct adopt {
	struct store *store;        // borrowed; NULL: a dry run on a pool without one
	const struct tree *trees;   // borrowed
	const struct known *known;  // borrowed
	struct hashed *hashed;      // borrowed
	struct report *report;      // borrowed
	bool dry_run;
	unsigned ignored;     // of enum identity_field
	unsigned waiting;     // displaced files that a worker keeps open
	uint64_t link_limit;  // dry run: names an inode of this filesystem can have
	bool is_tmpfs;
	struct durable durable;
	struct dirtimes dirtimes;
};

// Sets the fields that are not borrowed, nor given by who runs the pass.
void adopt_init(struct adopt *a, int pool);
void adopt_destroy(struct adopt *a);

// A worker, numbered from 0, that uses @reader and counts in @tally (both borrowed).
int adopter_new(struct adopt *a, struct reader *reader, struct tally *tally, unsigned worker,
		struct adopter **ret);

// What an earlier pass found out about a file that has not changed since.
enum recalled {
	RECALLED_NOTHING,
	RECALLED_IDENTITY,  // no other had that, so the content was not read
	RECALLED_DIGEST,
};
enum recalled adopt_recalled(const struct adopt *a, const struct tree_file *f, uint64_t *ret_identity);

// Takes @f, whose digest is recalled: it is remembered. False: there is something that it may be equal to, so
// it must be opened for adopter_take().
bool adopter_recall(struct adopter *a, struct tree_file *f);

// Lets go of the files that wait open for the next that may be equal: they are opened again when it comes.
void adopter_let_go(struct adopter *a);

// Does what is due with displaced files: to be called now and then while the worker (a struct adopter) does
// something else.
void adopter_tidy(void *adopter);

// The bytes that were read of files for a second time, by way of the disk, since the last call.
uint64_t adopter_reopened(struct adopter *a);

// Has the next pass recall the identity of @r, whose content nobody has read.
void adopter_leave_unread(struct adopter *a, const struct reading *r);

// Takes @r, open, of the class being worked on: it becomes a link, an object, or is remembered. It is closed
// then.
void adopter_take(struct adopter *a, struct reading *r);

// The class is at its end: files met once are skipped, as alone or as @left.
void adopter_end_class(struct adopter *a, enum reason left);

// Finishes what is under way and frees; NULL is fine.
int adopter_free(struct adopter *a);
