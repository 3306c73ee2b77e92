// A file that a link has displaced: it waits in tmp/ under a name that tells which object took its place,
// until it is certain that nobody wrote to it on the way. Then it is dropped, or put back.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/name.h"
#include "store/tmp.h"

struct store;

// "OBJECT.WORKER.NUMBER", in the directory @dir ("worker-N/" or "").
void displaced_name_print(const char *dir, const struct object_key *key, unsigned worker, uint64_t number,
			  char ret[TMP_NAME_SIZE]);
int displaced_name_parse(const char *name, struct object_key *ret);

// Calls @each with the key of the object that took the place of each displaced file in tmp/, which recovery
// is going to compare with it; stops at its first non-zero answer and returns that.
int displaced_each(struct store *s, int (*each)(const struct object_key *key, void *arg), void *arg);

// How long it waits, in nanoseconds: a writer that has looked its file up before our exchange has taken its
// open(2) as far as our lease by then, or is descheduled on a machine in trouble.
#define DISPLACED_GRACE_NSEC (20 * INT64_C(1000000))

// Exchanges @tmp with the name @name in @dir.
int displaced_exchange(struct store *s, const char *tmp, int dir, const char *name);

// Will trying later do? Any other error ends with keeping the file: one file must not stop every pass to
// come.
bool displaced_is_transient(int error);

// Removes the name @tmp.
int displaced_drop(struct store *s, const char *tmp);

// Gives it the name kept-…, under which nothing of ours removes it. The administrator finds it there.
int displaced_keep(struct store *s, const char *tmp);
bool displaced_is_kept(const char *name);
