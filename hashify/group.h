// What one worker knows of the class it is working on: which contents it has met and what holds them. A group
// holds what agrees in digest and identity: the same content, unless somebody crafted a collision.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "hashify/known.h"
#include "hashify/reader.h"
#include "hashify/tree.h"
#include "store/base/map.h"
#include "store/name.h"

struct group;

// What other files can become links to: an object, or a file of which no equal was met yet. That becomes an
// object when the second one comes: what occurs once costs nothing.
struct target {
	struct target *next;     // in its group
	struct group *group;     // borrowed
	struct tree_file *file;  // the guest's file that it is; NULL: an object that was there before
	uint64_t stamp;          // index_stamp() of @file when it was hashed
	struct object_key key;   // of the object
	uint64_t names;          // dry run: how many it would have; 0: not known yet
	bool is_object;          // in a dry run also what would be one
	bool full;               // it can take no more names
	bool refused;            // it cannot be used: it is damaged, has changed, or somebody writes it;
				 // group_refuse()
	bool is_on_disk;         // what memory has of it; ondisk.h
	bool is_news;            // the index is to be told of @file
	bool was_read;           // it was open already
	bool stays_fresh;        // ondisk_stays_fresh(), of @file
	bool is_recalled;        // @file has not been opened yet
	bool is_hearsay;         // its digest was recalled, and nobody has seen yet that it is that
	struct pages pages;      // owned: what of @file was in the page cache before
	int slot;                // where it is open; -1: it is not
};

struct group {
	struct group *next;  // of the class
	uint64_t size;
	struct digest digest;
	uint64_t identity;  // without what is ignored
	uint64_t rights;    // reader_rights(); what is recalled has none
	int error;          // of making the latest of its files an object; 0: it became one, or none was to
	struct target *targets;  // owned; the one most likely to have room first
	struct target *refused;  // owned
};

// Open targets: more than these are closed again, so that a class of many contents uses up neither fds nor
// memory.
#define GROUPS_OPEN_TARGETS 16

// Which target had the content of a file of the same name is remembered for so many names.
#define GROUPS_PREDICTIONS 64

struct open_target {
	struct target *target;   // NULL: the slot is free
	struct reading reading;  // its file, under a claim
};

struct groups {
	const struct known *known;  // borrowed
	struct store *store;        // borrowed; NULL: there is none, and nothing known
	unsigned ignored;           // of enum identity_field
	struct map map;
	struct group *all;
	struct open_target open[GROUPS_OPEN_TARGETS];
	unsigned open_next, open_looked_at;
	struct target *latest;  // that was used
	struct target *predictions[GROUPS_PREDICTIONS];
};

// The group of these; with the objects of the store as its targets when it is new. NULL: no memory.
struct group *groups_of(struct groups *g, uint64_t size, uint64_t identity, struct digest digest);

// Adds a target for @file to @group: an object that was there (NULL @file), or a file hashed just now or
// earlier. NULL: no memory.
struct target *group_add(struct group *group, struct tree_file *file);

// @t is not to be tried any more.
void group_refuse(struct target *t);

// The target that @r, which is not hashed, is most likely equal to; NULL: none comes to mind.
struct target *groups_predict(struct groups *g, const struct reading *r);

// Remembers that the file @f had the content of @t.
void groups_learn(struct groups *g, struct target *t, const struct tree_file *f);

// Gives @t, which is closed, the open file @reading, and closes the target that has been open for longest, if
// there are many. @reading must not be of a target; it is taken.
void groups_set_open(struct groups *g, struct target *t, struct reading *reading);

// What @t has open; it is open.
struct reading *groups_reading(struct groups *g, const struct target *t);

// Gives what @t has open to the caller; @t is closed then.
void groups_take_open(struct groups *g, struct target *t, struct reading *ret);

// Closes @t; if it is closed, that is fine.
void groups_close(struct groups *g, struct target *t);

void groups_close_all(struct groups *g);

// Closes one of the open targets if somebody waits to write to it; another each time.
void groups_close_wanted(struct groups *g);

// The lowest variant that no object of @group has.
uint32_t group_free_variant(const struct group *group);

// The bytes that would be freed if xattrs were ignored: those of files that have the content of another, and
// can still become links. That is what has become an object, too, with @dry_run. An estimate that need not be
// whole.
uint64_t groups_differ_in_xattrs(const struct groups *g, bool dry_run);

// Forgets the class.
void groups_clear(struct groups *g);
