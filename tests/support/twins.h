// Two equal files of two guests in a throw-away pool, one of them an object, for tests of what a link
// displaces.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/support/pool.h"

#define TWINS_WAITING 256  // displaced files that wait at a time

// a/file is an object, b/file its twin.
struct twins {
	const struct pool *p;       // borrowed
	struct object_key key;      // of the object
	struct replacer *replacer;  // owned
	int object;                 // owned: the object, open
};

struct twins given_twins(const struct pool *p);

// Its parts: the files, of which one becomes the object that is returned; and what replaces. Asserts nothing.
struct object_key put_twins(const struct pool *p);
int twins_open(const struct pool *p, const struct object_key *key, struct twins *ret);

// Frees what it owns. The last flush must find no error.
void twins_done(struct twins *w);

// The outcome of replacing the file @path by a link to the object.
int twins_replace(struct twins *w, const char *path);

// The same for a file that is claimed, in the directory @dir. The replacer may take the claim's fd. Asserts
// nothing.
int twins_run(struct twins *w, int dir, const char *path, struct claim *claim);

// Replaces b/file under a claim that does not hold any more, so that it is put back. The guest does @run(the
// tree) just before that, which is the second exchange.
int twins_replace_and_put_back(struct twins *w, void (*run)(void *arg));

// A guest's process opens the file of @fd for writing and writes "HELLO": returns when it waits for whoever
// has claimed that, or has written.
void twins_write_late(int fd);

// Waits until all these have written.
void twins_await_writers(void);

// How many files were put back.
uint64_t twins_flush(struct twins *w);

ino_t twins_inode(const struct twins *w, const char *path);

// Is @path a link to the object?
bool twins_linked(const struct twins *w, const char *path);
