// Who serves what of a pool: each live mount holds a flock on a file of its own in `.hash/mounts/`, which
// dies with the process. The text of the file: pid, source and mountpoint, one per line, newline and
// backslash escaped.
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct store;

struct registration {
	pid_t pid;
	char *source;      // owned; in the pool, from its root: "/" is the pool
	char *mountpoint;  // owned, absolute
};
void registration_free(struct registration *r);

// What follows the pool's path in that of @r's source.
const char *registration_below(const struct registration *r);

// Keeps others from all of this, from a registry_hold() as well, until the fd that it returns is closed.
// Waits for whoever has it.
int registry_hold(struct store *s);

// Registers a mount of @source, a resolved path from the pool on ("/web1"), and returns an fd that the caller
// keeps open for as long as the mount lives (it survives a fork: daemons). -EBUSY: a live mount serves a tree
// that holds
// @source or lies in it; that one is in @ret_other. Files of dead mounts are removed on the way.
int registry_add(struct store *s, const char *source, const char *mountpoint, struct registration *ret_other);

// Removes the registration @fd and closes it.
void registry_remove(struct store *s, int fd);

// Does our mount namespace show a hashfs at @mountpoint? Asked of the mount table, as who serves it may not
// answer.
bool registry_shows(const char *mountpoint);

// A mount's daemon needs a moment to end after its mount is gone. Sleeps a part of that; false, at once, when
// @*waited, which the caller begins with 0, says that it had 3 s in all.
bool registry_wait_ending(unsigned *waited);

// Calls @each for every live mount; stops at its first non-zero answer and returns that.
int registry_each(struct store *s, int (*each)(const struct registration *r, void *arg), void *arg);
