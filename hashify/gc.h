// Removes objects that no link is left to. Mounts may go on meanwhile.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct store;
struct report;

struct gc_result {
	uint64_t removed;
	uint64_t freed;  // bytes: blocks of inodes whose last name went away
	uint64_t kept;   // objects that have links, or are needed to recover what a killed pass has left
	uint64_t quarantined;  // those of them that are in quarantine/
	uint64_t foreign;      // names in objects/, quarantine/ and held/ that are none of ours
	uint64_t errors;       // objects that could not be removed
	uint64_t renewed;      // objects that had lost their marks (marked.h)
	int signal;            // that stopped it; 0: it went through
};

// Goes through all objects of @s, which store_lock_pass() was called for unless this is a @dry_run: that only
// counts. Errors of single objects are named and counted, others end it and are returned; @ret is filled
// anyway.
int gc_run(struct store *s, bool dry_run, struct report *report, struct gc_result *ret);
