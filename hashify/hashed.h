// The digests of earlier passes: files that no other was equal to then, and that have not changed since, need
// not be read again. Loaded once, asked by any number of threads, written as the pass goes on. Thread-safe,
// but for loading and saving.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "store/index.h"

#define HASHED_BATCH 512

struct store;

struct hashed {
	struct store *store;      // borrowed
	struct index *index;      // owned; NULL: there is none, or nothing is to be written
	struct index_file *rows;  // owned; by inode
	size_t count;
	uint8_t *seen;  // owned; one for each row: it was asked for
	uint64_t seed;
	pthread_mutex_t lock;  // guards what follows, and the index
	struct index_file batch[HASHED_BATCH];
	size_t batched;
	int64_t committed;  // ns of CLOCK_MONOTONIC_COARSE: when it was last
	int error;          // the first of writing
};

// Loads what the index of @s (NULL: none) has for passes that leave @ignored out. An index that cannot be
// used is as good as none; *@ret_state says so, and an error that it cannot even be made, for the user to
// hear. -ENOMEM is returned.
int hashed_load(struct store *s, unsigned ignored, bool write, struct hashed *ret,
		enum index_state *ret_state, int *ret_error);

// What is known of the inode @ino, if its stamp is the same: an index from 1 on for hashed_row(). 0: nothing.
uint32_t hashed_find(struct hashed *h, uint64_t ino, uint64_t stamp);
const struct index_file *hashed_row(const struct hashed *h, uint32_t row);

// Remembers a file for the next pass; if this one is killed, for the most part as well.
void hashed_add(struct hashed *h, const struct index_file *f);

// What the directories of @guest, or of objects (shards.h), held when they were read last; no more than
// @limit bytes of it, else nothing. @objects_sum as in listing.h. If that is to be kept anew (@keep),
// hashed_put_listings() follows.
struct listings;
void hashed_listings(struct hashed *h, const char *guest, uint64_t objects_sum, size_t limit, bool keep,
		     struct listings *ret);
void hashed_put_listings(struct hashed *h, const char *guest, struct listings *l);

// Forgets those of guests that @is_there does not know.
void hashed_keep_guests(struct hashed *h, bool (*is_there)(const char *guest, void *arg), void *arg);

// Writes what was added and records the pass. What has not been asked for is thrown away if that is much and
// the pass saw all there is (@whole). Returns the first error of writing. Frees.
int hashed_save(struct hashed *h, bool whole, const struct index_pass *pass);
void hashed_free(struct hashed *h);
