// Put a link in a guest file's place atomically, or put everything back; and what a crash left of that
// (recovery).
//
// The victim never vanishes: link the object to a name in tmp/, exchange it with the victim, check that what
// came out is what was compared and nobody writes it, then drop it. The order, and what a crash leaves after
// each step:
//
//	1 record (tmp name, guest path) in the journal  nothing to do
//	2 link the object into tmp/                     a link that recovery removes
//	3 exchange it with the guest's name             the displaced file: recovery drops it if it is
//	                                                what the object is, else puts it back
//	4 check; drop the displaced file                nothing
//
// Nothing here flushes: that an object's data are on the disk before it takes the place of others is for the
// caller to see to (hashify/adopt.c).
#pragma once

#include <stdint.h>

#include "store/claim.h"
#include "store/name.h"

struct store;
struct replacer;  // one worker's; not thread-safe

enum replaced {
	REPLACED,      // the name is a link now; replacer_flush() drops the old inode at the latest
	KEPT_CHANGED,  // the guest changed the file meanwhile: it keeps its own
};

// @worker numbers the workers of a pass, from 0.
int replacer_new(struct store *s, unsigned worker, struct replacer **ret);

// Replaces @name in @dir (an fd beneath the guest) by a link to the object @object, whose bytes and identity
// were compared under @claim, which the caller still holds and may drop afterwards. @path is the file's path
// in the pool, for the journal. -EMLINK: the object is full; -EXDEV: another filesystem, subvolume or
// project; anything else: nothing has changed, or the next flush or recovery puts the guest's file back.
int replacer_run(struct replacer *r, int dir, const char *name, const char *path,
		 const struct object_key *key, int object, const struct claim *claim);

// Displaced files stay in tmp/ for a grace period, because a writer may be on its way into open(2) between
// its look-up and our lease check. Waits until that has passed for all, takes a lease on each once more, puts
// back those that changed (counted in @ret_put_back), drops the others. Returns the first error of dropping
// or putting back since the flush before; what it hit stays in tmp/ for recovery.
int replacer_flush(struct replacer *r, uint64_t *ret_put_back);

// Flushes and frees; NULL is fine.
int replacer_free(struct replacer *r);

// What recovery did with the names a crash left in tmp/.
struct recovery {
	uint64_t removed;   // half-made copies and links
	uint64_t put_back;  // guests' files that changed after they were displaced, back in their place
	uint64_t kept;      // files whose place is unknown or taken: tmp/kept-…, which we never delete
};

// Called with the store's lock held exclusively. An error leaves for the next time what it hit.
int replace_recover(struct store *s, struct recovery *ret);
