// Walks one guest: what is a link already is only counted, what could become one is added to its tree, the
// rest is skipped with its reason. Nothing but directories is ever opened for
// reading. The guest may be hostile and may be changing meanwhile.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hashify/apart.h"
#include "hashify/hashed.h"
#include "hashify/known.h"
#include "hashify/mounts.h"
#include "hashify/policy.h"
#include "hashify/tree.h"

struct report;
struct report_place;
struct statx;
struct store;
struct tally;

struct walk {
	const struct known *known;        // borrowed
	const struct known *quarantined;  // borrowed; NULL: what is in quarantine is not told apart
	struct report *report;            // borrowed
	dev_t dev;                        // of the store: files elsewhere cannot be linked to its objects
	uint64_t seed;                    // of identity_class()
	unsigned ignored;                 // of enum identity_field
	struct hashed *hashed;  // borrowed; NULL: all directories are read; else there is no on_link
	size_t listing_limit;   // bytes of a guest's listings (hashed.h)
	bool list;              // keep them anew
	unsigned part,
		parts;  // of the files, split by class, only this part goes into the trees; 0 parts: all
	const struct policy *policy;  // borrowed; NULL: nothing is excluded
	// Hard links without a mark, of which names are elsewhere, go into the trees.
	bool apart;
	enum apart_restore restore;   // and links whose objects have lost their names give them back
	struct store *store;          // borrowed, for that; NULL: there are no marks
	const struct mounts *mounts;  // borrowed; NULL: nothing is known to be mounted
	// Called for each name of a file that is marked and was not known, with @apart; may be NULL. -ENOMEM.
	int (*on_marked)(const struct statx *st, void *arg);
	bool links_only;  // leave all other files out: no status, no reason, no place in the tree
	// Called for each link of the guest with its @place, which is only good during the call; may be NULL.
	void (*on_link)(const struct known_object *object, const struct report_place *place, void *arg);
	void *arg;
};

// Walks @tree->guest, a directory in @pool, and fills @tree; counts in @tally. What it cannot enter is
// skipped; files beyond the tree's budget are only counted, as for later. -ENOMEM.
int walk_guest(const struct walk *w, int pool, struct tree *tree, struct tally *tally);
