// How far a pass or a verification is, in words: a line that fits a terminal, and one for a log. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// In the order of a pass; the last two are those of verify, behind the first.
enum progress_phase {
	PROGRESS_STORE,
	PROGRESS_WALK,
	PROGRESS_READ,
	PROGRESS_FLUSH,
	PROGRESS_VERIFY,
	PROGRESS_NAMES
};

struct progress_state {
	enum progress_phase phase;
	bool dry_run;
	uint64_t seen;                      // names the walk has seen
	uint64_t files, bytes;              // done; verify: objects
	uint64_t total_files, total_bytes;  // that are to be done; what is done may exceed it
	uint64_t freed;                     // bytes
	const char *guest;                  // a name as it is on the disk; NULL: none
	double rate;                        // bytes a second; negative: not known
	double left;                        // seconds; negative: not known
	double elapsed;                     // seconds since the phase began
};

#define PROGRESS_LINE_MAX 512

struct progress_line {
	char text[PROGRESS_LINE_MAX];
};

// A line for a terminal of @width columns. It leaves the last column free, where some terminals begin a new
// line; what does not fit is left out, the least important first.
struct progress_line progress_line_bar(const struct progress_state *s, unsigned width);

// A line for a log: all there is to say, of any width.
struct progress_line progress_line_plain(const struct progress_state *s);
