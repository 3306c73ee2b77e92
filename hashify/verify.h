// Checks every object against its name, those first that have waited longest; moves damaged ones into
// quarantine and finds the guests' names that are links to them. Mounts may go on meanwhile. The index keeps
// when each was found sound, so that after a stop the next run goes on with the others.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hashify/findings.h"
#include "store/index.h"

struct progress;
struct store;
struct report;

struct verify_options {
	bool dry_run;               // nothing is moved
	uint64_t io_limit;          // bytes a second; 0: none
	struct progress *progress;  // NULL: none
};

struct verify_result {
	uint64_t objects;  // that were checked
	uint64_t read;     // bytes of their content
	uint64_t damaged;  // of these objects
	// Those, and what earlier runs have put into quarantine and guests still have links to.
	struct findings findings;
	uint64_t foreign;        // names in objects/ and quarantine/ that are no object's
	uint64_t errors;         // what could not be checked, moved or searched for names
	enum index_state index;  // as it was before what this run has checked was put there
	int index_error;         // the next run does not know what this one has checked
	int signal;              // that stopped it; 0: it went through
	bool no_names;           // another signal stopped the search for names
};

// Verifies the objects of @s, for which store_lock_pass() was called unless this is a dry run. Errors of
// single objects are named and counted, others end it and are returned; @ret is filled anyway, and freed by
// the caller (findings_free).
int verify_run(int pool, struct store *s, const struct verify_options *o, struct report *report,
	       struct verify_result *ret);
