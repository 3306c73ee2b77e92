// The index, `.hash/index.sqlite`: what is expensive to find out again. A cache: without it, or with one that
// is foreign or broken, the next pass takes longer, and nothing else; what it says of a file is never
// believed without comparing bytes. Used by one process at a time, one thread at a time.
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "store/digest.h"

struct store;
struct index;

// A file of which no other was equal when it was hashed.
struct index_file {
	uint64_t ino;
	uint64_t stamp;  // index_stamp() of what it was then
	struct digest digest;
	uint64_t identity;  // digest of identity.h, without what was ignored
};

// An object that was found to be what its name says. When it is gone, and another has its inode, that one has
// changed since.
struct index_verified {
	uint64_t ino;
	int64_t at;  // nanoseconds since 1970
};

// A pass that went through, or was stopped.
struct index_pass {
	int64_t started;  // seconds since 1970
	double seconds;
	uint64_t guests, seen, linked, objects, freed, errors;
	int signal;  // that stopped it; 0
};

enum index_state {
	INDEX_GOOD,
	INDEX_NEW,        // there was none
	INDEX_FOREIGN,    // it was of another store, filesystem, version or set of ignored fields: begun anew
	INDEX_CORRUPT,    // begun anew
	INDEX_UNFINISHED  // who wrote it was killed; who writes it next puts it in order, who reads has none
};

// For index_open(), for who does not care what passes leave out.
#define INDEX_ANY UINT_MAX

// Opens the index of @s for passes that leave the identity fields @ignored out. With @write it is made where
// there is none and made anew where it cannot be used, else nothing is ever written: then *@ret is NULL
// unless it is good. The caller holds the store's lock, at least shared to read, or that of a pass; who reads
// waits for who writes. -ENOSPC, -EROFS, -EIO…: it cannot be had.
int index_open(struct store *s, unsigned ignored, bool write, struct index **ret,
	       enum index_state *ret_state);

// The identity fields that it leaves out.
unsigned index_ignored(const struct index *x);

// Writes what was put and removed since it was opened, or since the last call, as a whole or not at all: who
// is killed then loses only what comes later. After an error it is only good to be closed.
int index_commit(struct index *x);

// The same, and frees. NULL is fine.
int index_close(struct index *x);

// Calls @each for all files, by ascending inode, until it answers other than 0, and returns that. -EBADMSG:
// the index is broken, and what was told until then is worth nothing.
int index_each(struct index *x, int (*each)(const struct index_file *f, void *arg), void *arg);

// Put files, over what was known of their inodes, or remove one.
int index_put(struct index *x, const struct index_file *files, size_t count);
int index_remove(struct index *x, uint64_t ino);

// The same for objects; and forgets all of them.
int index_each_verified(struct index *x, int (*each)(const struct index_verified *v, void *arg), void *arg);
int index_put_verified(struct index *x, const struct index_verified *v);
int index_forget_verified(struct index *x);

// Removes the index of @s, which nobody has open: the next one is new.
int index_drop(struct store *s);

// Records a pass. Some thousand of them are kept.
int index_add_pass(struct index *x, const struct index_pass *p);

// What the directories of a guest held, bytes whose meaning is the caller's: 1 and, owned by the caller,
// *@ret of *@ret_size bytes; 0: nothing is known.
int index_get_listing(struct index *x, const char *guest, uint8_t **ret, size_t *ret_size);
int index_put_listing(struct index *x, const char *guest, const void *data, size_t size);

// Removes those of guests that @is_wanted does not want.
int index_keep_listings(struct index *x, bool (*is_wanted)(const char *guest, void *arg), void *arg);

// The last pass, and how many there are: 0 or more.
int64_t index_last_pass(struct index *x, struct index_pass *ret);

// 64 bits of what must not have changed since a file was hashed: size, mtime and ctime to the nanosecond.
uint64_t index_stamp(uint64_t seed, uint64_t size, struct timespec mtime, struct timespec ctime);
