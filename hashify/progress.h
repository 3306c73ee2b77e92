// Shows how far a pass, or verify, is. Workers count in lines of their own, without a lock; a thread adds
// that up and draws: on a terminal a bar, elsewhere a line now and then, and whenever SIGUSR1 asks for it a
// line on stderr. All but progress_start() may be called with NULL, by any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hashify/progress_line.h"

struct progress;

enum progress_when {
	PROGRESS_AUTO,  // a bar, if stderr is a terminal, or else a line each minute
	PROGRESS_YES,   // the same, with a line each ten seconds
	PROGRESS_NO     // nothing but what SIGUSR1 asks for
};

struct progress_options {
	enum progress_when when;
	unsigned interval;  // seconds between two lines; 0: as many as said above
	bool dry_run;
};

// Keeps SIGUSR1 from ending the program. Called before any thread is started.
void progress_signals(void);

// Starts to show. All begin by reading the store. -ENOMEM, -EAGAIN: it cannot be shown.
int progress_start(const struct progress_options *o, struct progress **ret);

// Ends that, takes the bar away and frees @p.
void progress_stop(struct progress *p);

// The pass is in @phase from now on. Guests that were named are forgotten: their names may go away.
void progress_phase(struct progress *p, enum progress_phase phase);

// So much more is to be read, besides what was.
void progress_total(struct progress *p, uint64_t files, uint64_t bytes);

// The same of what nobody had reckoned with: it was part of no progress_total().
void progress_more(struct progress *p, uint64_t files, uint64_t bytes);

// The worker numbered @worker, from 0, has seen so many names more, or has done with so many files and bytes,
// and made @freed bytes free (which may be negative: put back). Cheap enough for each file; workers beyond
// PROGRESS_WORKERS share their lines.
#define PROGRESS_WORKERS 64
void progress_seen(struct progress *p, unsigned worker, uint64_t names);
void progress_add(struct progress *p, unsigned worker, uint64_t files, uint64_t bytes, int64_t freed);

// It works on @guest, a string that lives until the next call of progress_phase() or progress_stop().
void progress_guest(struct progress *p, unsigned worker, const char *guest);
