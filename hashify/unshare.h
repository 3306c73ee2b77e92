// Gives guests private copies of what they share.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct place;
struct report;

struct unshare_options {
	bool dry_run;
	bool sync;
};

struct unshare_result {
	uint64_t links;    // names that became private files
	uint64_t bytes;    // that these take; in a dry run as the objects do
	uint64_t changed;  // names that the guest itself gave another file meanwhile
	uint64_t errors;
	uint64_t left;  // objects that have links after all of the pool was unshared
	uint64_t kept;  // files of guests that are in tmp/ now as their places were taken; of all of the
			// pool, with those of before
	int signal;     // that stopped it; 0
};

// Makes every link at or beneath @at a private file, that is, whatever has the mark of one, be it of an
// object of this pool or not; the pool's store is locked exclusively, but in a dry run. An error that
// concerns one file is counted; a full disk or a quota ends it and is returned: what is not done stays a
// link.
int unshare_run(const struct place *at, const struct unshare_options *o, struct report *report,
		struct unshare_result *ret);
