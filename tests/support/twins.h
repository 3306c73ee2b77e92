// Two equal files of two guests in a throw-away pool, one of them an object, for tests of what a link
// displaces.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/support/pool.h"

// a/file is an object, b/file its twin.
struct twins {
	struct pool *p;             // borrowed
	struct object_key key;      // of the object
	struct replacer *replacer;  // owned
	int object;                 // owned: the object, open
};

struct twins given_twins(struct pool *p);

// Frees what it owns. The last flush must find no error.
void twins_done(struct twins *w);

// The outcome of replacing the file @path by a link to the object. The claim is dropped afterwards.
int twins_replace(struct twins *w, const char *path);

// How many files were put back.
uint64_t twins_flush(struct twins *w);

ino_t twins_inode(const struct twins *w, const char *path);

// Is @path a link to the object?
bool twins_linked(const struct twins *w, const char *path);
