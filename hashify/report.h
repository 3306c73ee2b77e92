// What a pass says while it runs: errors, once a kind, and with -v every file. Thread-safe.
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "hashify/reason.h"
#include "hashify/tree.h"
#include "store/name.h"

struct report {
	bool verbose;
	bool dry_run;
	bool silent;  // counts alone
	pthread_mutex_t lock;
	int said[REASON_COUNT][8];  // errnos already named, by reason; under lock
};

struct report_place {
	const struct tree *tree;
	uint32_t dir;
	const char *name;  // NULL: the directory itself
};

// That of @f, of one of @trees.
struct report_place report_place_of(const struct tree *trees, const struct tree_file *f);

void report_init(struct report *r, bool verbose, bool dry_run);

// For a walk that tells nothing, and counts.
void report_init_silent(struct report *r);
void report_destroy(struct report *r);

// Counts a skipped file; @err is the negative errno of an error, else 0.
void report_skip(struct report *r, struct tally *t, const struct report_place *place, enum reason reason,
		 int err);

// The same of a guest as a whole, of whose etc/hashify.exclude the line @line is no pattern; 0: @err is why.
void report_policy(struct report *r, struct tally *t, const struct report_place *place, int err, int line);

// What is wrong with that file, where the guest's root is called @root; the caller frees it. NULL: @err alone
// tells, or no memory.
char *report_policy_text(const char *root, int err, int line);

// Count a file that became an object, or a link that made @freed bytes free.
void report_object(struct report *r, struct tally *t, const struct report_place *place);
void report_link(struct report *r, struct tally *t, const struct report_place *place, uint64_t freed);

// Names a file that cannot be made private.
void report_not_unshared(const struct report_place *place, int err);

// Names a hard link between guests that cannot be marked (apart.h).
void report_not_apart(const struct report_place *place, int err);

// Names a link that became a private file.
void report_unshared(struct report *r, const struct report_place *place);

// Names an error of the store that belongs to no file.
void report_store(int err);

// Names an object that no link was left to: it was removed, or cannot be for the negative errno @err.
void report_removed(struct report *r, const char *path, int err);

// Names an object with this @damage (rehash.h), which was moved into quarantine, or cannot be for the
// negative errno @err; and one that could not be checked.
void report_damaged(struct report *r, const struct object_key *key, unsigned damage, int err);
void report_unchecked(const struct object_key *key, int err);

// Names an object that cannot be used.
void report_bad_object(const struct object_key *key, int err);
