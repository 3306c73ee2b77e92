// Replacing a name moves the times of its directory. Workers enter a directory just before that and leave it
// just after, which puts its mtime back, so that a pass that is killed leaves (almost) none behind. One
// worker is in a directory at a time: what moves its mtime before or after is the guest's, and stays.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "hashify/tree.h"

#define DIRTIMES_LOCKS 256

struct dirtimes {
	pthread_mutex_t locks[DIRTIMES_LOCKS];  // of the directories that fall to each
};

// A directory that a worker is going to change.
struct dirtimes_visit {
	pthread_mutex_t *lock;  // borrowed
	int dir;                // borrowed
	bool known;
	struct timespec mtime;  // when it was entered, if @known
};

void dirtimes_init(struct dirtimes *d);
void dirtimes_destroy(struct dirtimes *d);

// The visit of the directory of @f, which @dir has open.
struct dirtimes_visit dirtimes_visit(struct dirtimes *d, const struct tree_file *f, int dir);

// Any number of times, one after the other. @arg is a struct dirtimes_visit, as for what calls back.
void dirtimes_enter(void *arg);
void dirtimes_leave(void *arg);
