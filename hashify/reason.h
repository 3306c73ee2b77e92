// The named reasons for leaving a file alone, and the counters of a pass. Each worker counts for itself; the
// sums are made when it has ended.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum reason {
	REASON_NONE,  // not skipped

	// Nothing is wrong:
	REASON_ALONE,
	REASON_EMPTY,
	REASON_SMALL,
	REASON_EXCLUDED,
	REASON_HOLES,
	REASON_DEEP,
	REASON_SYMLINK,
	REASON_SPECIAL,
	REASON_HARD_LINKED,
	REASON_DAMAGED,
	REASON_FLAGS,
	REASON_READ_ONLY,
	REASON_LARGE_XATTRS,
	REASON_MOUNT,
	REASON_SUBVOLUME,
	REASON_IN_USE,
	REASON_CHANGED,
	REASON_STOPPED,

	// Errors: the pass goes on, its exit status is 1.
	REASON_PERMISSION,
	REASON_LEASE,
	REASON_READ,
	REASON_DISK,
	REASON_LINK,
	REASON_POLICY,
	REASON_SERVED,

	REASON_COUNT
};

// The word that stands for @r in JSON, and the words a person reads.
const char *reason_key(enum reason r);
const char *reason_text(enum reason r);
bool reason_is_error(enum reason r);

// What the negative errno @err of opening, claiming or reading a guest's file means, and that of making it an
// object or a link.
enum reason reason_of_reading(int err);
enum reason reason_of_linking(int err);

// Every name seen that is no directory is in one of: already, objects, linked, skipped. A directory that is
// not entered is seen and skipped like a file.
struct tally {
	uint64_t directories;
	uint64_t seen;
	uint64_t later;        // seen, and not in the part that is being worked on
	uint64_t already;      // links before this pass
	uint64_t restored;     // of these, links whose objects had lost their names
	uint64_t marked;       // of what is hard-linked, names that are links to every mount
	uint64_t objects;      // files that became an object; their names are links now
	uint64_t linked;       // names that became links to an object that was there
	uint64_t freed;        // bytes: blocks of inodes whose last name went away
	uint64_t if_xattrs;    // bytes that would be freed as well if xattrs were ignored
	uint64_t kept;         // files that guests changed while they were linked, now in tmp/kept-…
	uint64_t read;         // bytes of content read to be hashed
	uint64_t bad_objects;  // that could not be used: each an error
	uint64_t skipped[REASON_COUNT];
};

void tally_add(struct tally *sum, const struct tally *part);

// How many skips were errors.
uint64_t tally_errors(const struct tally *t);
