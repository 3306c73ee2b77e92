// The workers of a pass: each takes classes of files, opens the files in order, a few ahead of the one it
// reads so that the disk is never waited for alone, and hands them to its adopter.
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "hashify/adopt.h"
#include "hashify/filter.h"
#include "hashify/reader.h"

// How many files a worker keeps open ahead at most.
#define WORKER_WINDOW READER_AHEAD

// What the workers of a pass share.
struct work {
	struct adopt *adopt;            // borrowed
	const struct classes *classes;  // borrowed
	int pool;
	struct progress *progress;  // borrowed; may be NULL
	struct throttle *throttle;  // borrowed; may be NULL
	size_t open_dirs;           // per worker
	pthread_mutex_t lock;
	size_t next;       // class; under lock
	unsigned workers;  // that have started; under lock
};

// Is @f, of class @c, one of the files that are to be read, by what is known of it before it is opened?
bool worker_has_to_read(const struct adopt *a, const struct class *c, const struct tree_file *f);

// Works until no class is left, or until the user wants to stop; then files that were begun with are skipped
// as stopped, and @w->next is the first class that nobody has begun with. Counts in @tally. Returns an error
// that ends the pass.
int worker_run(struct work *w, struct tally *tally);
