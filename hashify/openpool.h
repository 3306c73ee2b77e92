// Opens a pool and its store for a command, or says in a sentence why that cannot be.
#pragma once

#include <stdbool.h>

#include "store/store.h"

struct openpool {
	// Owned: the pool. If it is only looked at or tidied, and hashfs serves a part of it, as it is
	// beneath all mounts, those of guests on themselves above all (where we may: as root).
	int dir;
	int mounted;          // owned: the pool as it is mounted
	struct store *store;  // owned and locked; NULL: none yet, and none was to be made
};

enum openpool_mode {
	OPENPOOL_CHANGE,  // exclusively
	OPENPOOL_TIDY,    // changes nothing but the store, and that in such a way that mounts may go on
	OPENPOOL_LOOK,    // shared; writes nothing
};

// 0, or -1: the reason was said. For a pass, which overlayfs is no place for, and which makes the store if
// there is none and it is to change something.
int openpool(const char *path, enum openpool_mode mode, struct openpool *ret);

// For a command that has nothing to do where there is no store: says so, and returns -1.
int openpool_with_store(const char *path, enum openpool_mode mode, struct openpool *ret);

void openpool_close(struct openpool *p);
