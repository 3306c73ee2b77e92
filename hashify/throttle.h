// Slows a pass down: to a rate that was asked for, and while others wait for the disk or for memory
// (backoff.h). Shared by all workers of a pass. Each waits here between two files, before it claims the next:
// a guest that wants to write to that does not wait, too. All functions may be called with NULL: nothing
// slows the pass then.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct backoff_pressure;
struct throttle;

// What the world is like; tests have one of their own.
struct throttle_world {
	uint64_t (*now)(void *arg);  // ns
	void (*sleep)(void *arg, uint64_t ns);
	int (*pressure)(void *arg, struct backoff_pressure *ret);  // negative: it is not known here
	bool (*stopped)(void *arg);                                // wait no longer
	void *arg;
};

struct throttle_options {
	uint64_t limit;                      // bytes a second; 0: none
	bool back_off;                       // while others suffer
	const struct throttle_world *world;  // NULL: the real one
};

// -ENOMEM. Where the kernel does not tell about pressure, there is no backing off.
int throttle_new(const struct throttle_options *o, struct throttle **ret);
void throttle_free(struct throttle *t);

// The caller is a worker from now on, and no longer.
void throttle_join(struct throttle *t);
void throttle_leave(struct throttle *t);

// Called by a worker before it reads @bytes: waits until it may, or the pass is to stop. In the long run no
// more than the limit is read; what was not used is kept for a tenth of a second. @idle, unless NULL, is
// called with @arg every now and then while it waits.
void throttle_take(struct throttle *t, uint64_t bytes, void (*idle)(void *arg), void *arg);

// @bytes were read that were not taken: who takes some next waits for these as well.
void throttle_owe(struct throttle *t, uint64_t bytes);

// Would throttle_take() return at once, whatever is taken? Costs next to nothing.
bool throttle_is_free(const struct throttle *t);

// @bytes that were taken were not read after all.
void throttle_return(struct throttle *t, uint64_t bytes);
