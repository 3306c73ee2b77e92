// One pass over a pool: walk → filter → read → adopt.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hashify/apart.h"
#include "hashify/reason.h"
#include "hashify/whatif.h"
#include "store/index.h"
#include "store/replace.h"

struct openpool;
struct policy;
struct progress;
struct report;
struct throttle;

#define PASS_MAX_THREADS 64

struct pass_options {
	bool dry_run;
	bool write_index;  // in a dry run, too
	bool sync;  // false: a power cut soon after the pass may cost content of files written shortly before
		    // it
	const struct policy *policy;
	unsigned ignored;  // of enum identity_field
	uint64_t memory;   // bytes that the names of new files may take at a time; 0: an eighth of the
			   // machine's
	struct progress *progress;  // borrowed; NULL: nobody watches
	struct throttle *throttle;  // borrowed; NULL: nothing slows it down
	unsigned threads;           // 1 to PASS_MAX_THREADS; 0: as many as pay
};

struct pass_result {
	struct tally tally;
	struct recovery recovery;  // what a pass that was killed had left
	size_t guests, guests_elsewhere;
	enum index_state index;  // what was there
	int index_error;         // negative errno: it could not be had or written; 0
	struct whatif whatif;
	bool has_whatif;  // it was estimated: of a pass that was not stopped, with memory for all files at a
			  // time
	struct apart apart;
	uint64_t foreign;  // names in objects/ that are no object's
	int signal;        // that stopped it; 0: it went through
	double seconds;
};

// Runs a pass over @pool, whose store is locked, exclusively unless this is a dry run; a dry run writes
// nothing, and may have no store. Errors of single files are counted, the others end the pass
// and are returned; @ret is filled anyway.
int pass_run(const struct openpool *pool, const struct pass_options *o, struct report *report,
	     struct pass_result *ret);

// What went wrong in it, but for the error that ended it.
uint64_t pass_errors(const struct pass_result *r);
