// What one worker knows of the class it is working on: which contents it has met, the objects that hold them,
// and the files that were met once. A group holds what agrees in digest and identity: the same content,
// unless somebody crafted a collision.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "hashify/known.h"
#include "hashify/reader.h"
#include "hashify/tree.h"
#include "store/base/map.h"
#include "store/name.h"

// An object that files of the group can be linked to.
struct target {
	struct target *next;
	struct object_key key;
	// Dry run: the file that would have become this object; NULL: there is one.
	const struct tree_file *stand_in;
	uint64_t names;  // dry run: how many names it would have; 0: not known yet
	bool full;       // it can take no more names
	bool refused;    // it cannot be used: it is damaged, or somebody writes it
	int slot;        // where it is open; -1: it is not
};

// A file of which no equal was met yet. It becomes an object when the second one comes: what occurs once
// costs nothing.
struct first {
	struct first *next;
	const struct tree_file *file;
	struct timespec ctime;  // when it was hashed
};

struct group {
	struct group *next;  // of the class
	uint64_t size;
	struct digest digest;
	uint64_t identity;
	struct target *targets;  // owned; the one most likely to have room first
	struct first *firsts;    // owned
};

// Open targets: more than these are closed again, so that a class of many contents uses up neither fds nor
// memory.
#define GROUPS_OPEN_TARGETS 16

struct open_target {
	struct target *target;   // NULL: the slot is free
	struct reading reading;  // its file, under a claim
};

struct groups {
	const struct known *known;  // borrowed
	struct map map;
	struct group *all;
	struct open_target open[GROUPS_OPEN_TARGETS];
	unsigned open_next;
};

// The group of @r, which is hashed; with the objects of the store as its targets when it is new. NULL: no
// memory.
struct group *groups_of(struct groups *g, const struct reading *r);

// Adds a target to @group; @reading may be closed, else the target takes it. NULL: no memory, nothing was
// taken.
struct target *groups_add_target(struct groups *g, struct group *group, const struct object_key *key,
				 const struct reading *reading);

// Gives @t, which is closed, the open file @reading, and closes the target that has been open for longest, if
// there are many. @reading must not be of a target.
void groups_set_open(struct groups *g, struct target *t, const struct reading *reading);

// What @t has open; it is open.
struct reading *groups_reading(struct groups *g, const struct target *t);

// Closes @t; if it is closed, that is fine.
void groups_close(struct groups *g, struct target *t);

int group_add_first(struct group *group, const struct reading *r);

// The lowest variant that no target of @group has.
uint32_t group_free_variant(const struct group *group);

// Forgets the class.
void groups_clear(struct groups *g);
