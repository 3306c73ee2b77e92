// Replacing a name moves the times of its directory. Workers enter a directory before that and leave it
// afterwards, which puts its mtime back at once, so that a pass that is killed leaves (almost) none behind.
// Thread-safe.
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "hashify/tree.h"

#define DIRTIMES_USERS 64  // threads that may be in a directory at the same time

struct dirtimes_entry {
	uint64_t key;
	unsigned users;         // 0: the entry is free
	struct timespec mtime;  // when the first of them came
};

struct dirtimes {
	pthread_mutex_t lock;
	struct dirtimes_entry entries[DIRTIMES_USERS];  // under lock
};

void dirtimes_init(struct dirtimes *d);
void dirtimes_destroy(struct dirtimes *d);

// Enters the directory of @f, which @dir has open, and returns what dirtimes_leave() wants.
int dirtimes_enter(struct dirtimes *d, const struct tree_file *f, int dir);
void dirtimes_leave(struct dirtimes *d, int entry, int dir);
