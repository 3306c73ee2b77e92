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
// caller to see to (hashify/ondisk.h).
#pragma once

#include <linux/limits.h>
#include <stdint.h>

#include "store/claim.h"
#include "store/name.h"
#include "store/tmp.h"

struct store;
struct xattr_set;
struct replacer;  // one worker's; not thread-safe

enum replaced {
	REPLACED,      // the name is a link now; replacer_flush() drops the old inode at the latest
	KEPT_CHANGED,  // the guest changed the file meanwhile: it keeps its own
};

// @worker numbers the workers of a pass, from 0. Up to @waiting (1 to JOURNAL_SLOTS) displaced files are kept
// open at a time.
int replacer_new(struct store *s, unsigned worker, unsigned waiting, struct replacer **ret);

// What is to be replaced.
struct victim {
	int dir;                         // borrowed: an fd beneath the guest
	const char *name;                // in @dir
	const char *path;                // in the pool, for the journal
	const struct xattr_set *xattrs;  // as they were when the bytes were compared
	struct claim *claim;             // under which bytes and identity were compared
	// Called just before names in @dir move, and just after, unless NULL.
	void (*begin)(void *arg);
	void (*end)(void *arg);
	void *arg;
};

// Replaces @v by a link to the object @key, open as @object, with the inode @ino. When it is REPLACED the
// replacer takes the claim with its fd (which becomes -1). Else the caller keeps both. -EMLINK: the
// object is full; -EXDEV: another filesystem, subvolume or project; anything else: nothing has changed, or
// the next flush or recovery puts the guest's file back.
int replacer_run(struct replacer *r, const struct victim *v, const struct object_key *key, int object,
		 uint64_t ino);

// Of displaced files that somebody opened for writing or changed, since the flush before.
struct replacer_done {
	uint64_t put_back;
	uint64_t kept;  // their place was taken: tmp/kept-…
};

// A writer may be on its way into open(2) between its look-up and the check of our lease, and would write to
// a file without a name. So displaced files stay in tmp/, and claimed, for a grace period, which is longer
// for what somebody else has open. Waits until that has passed for all, puts back those that somebody
// changed, or waits to write to, drops the others. What cannot be settled now, for want of descriptors for
// example, waits on, for the next flush. Returns the first error of what cannot wait any more since the flush
// before: it stays in tmp/ for recovery.
int replacer_flush(struct replacer *r, struct replacer_done *ret);

// Nothing more will be replaced: the next flush waits for what cannot be settled, too, for a second at most.
void replacer_end(struct replacer *r);

// Settles those whose grace period is over: to be called now and then by who does something else for long.
void replacer_tidy(struct replacer *r);

// Ends, flushes and frees; NULL is fine.
int replacer_free(struct replacer *r);

// What recovery did with the names a crash left in tmp/.
struct recovery {
	uint64_t removed;      // half-made copies and links
	uint64_t put_back;     // guests' files that changed after they were displaced, back in their place
	uint64_t kept;         // files whose place is unknown or taken: tmp/kept-…, which we never delete
	uint64_t kept_before;  // such files of earlier times that are still there
	uint64_t broken;       // that the disk does not let go: guests' files, which are among those kept
	int broken_error;      // of the first of these,
	char broken_name[TMP_NAME_SIZE];  // its name in tmp/ until then,
	char broken_path[PATH_MAX];       // and where in the pool it belongs; "": unknown
};

// Called with the store's lock held exclusively. An error leaves for the next time what it hit.
int replace_recover(struct store *s, struct recovery *ret);
