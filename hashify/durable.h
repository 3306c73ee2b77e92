// What the disk has. A file is hashed and linked from the page cache, which a power cut takes away; and a
// rename is on the disk before the data of the file it names may be. So all that was written before is
// flushed once, before the first file is opened, and what changed since by itself, before it may stand in for
// another file.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct claim;

struct durable {
	bool wanted;  // set by the owner; else nothing is ever flushed
	int store;    // borrowed: the store's directory; -1: there is none
	atomic_bool flushed;
	atomic_bool is_unsure;     // writing something back has failed since the machine was started
	pthread_mutex_t flushing;  // guards the next two until then
	int error;
	int64_t till;          // ns: what has not changed since is on the disk
	int64_t clock_offset;  // ns between the wall clock and the time since boot
};

// @store is the store's directory, or -1. If @d->wanted, it gets the file in which errors are noted.
void durable_init(struct durable *d, int store);
void durable_destroy(struct durable *d);

// Flushes the filesystem of @pool. An error of writing back is told once, so it is noted in the directory
// @store for the passes to come.
int durable_sync(int pool, int store);

// To be called before a file is opened that durable_make() is for: flushes the filesystem of @pool, once, and
// all who come meanwhile wait. Any thread.
int durable_flush(struct durable *d, int pool);

// Sees to it that the data of a claimed file are on the disk.
int durable_make(struct durable *d, const struct claim *c);

// May memory lose what it has of a claimed file? Its data are written back, if need be, for that; and not if
// that fails, or has failed lately. Whatever is @wanted.
bool durable_may_drop(struct durable *d, const struct claim *c);

// May the disk have something else than memory all the same? After an error of writing back nobody says so
// any more: it is told once. But that there was one is known, by this pass or by those before.
bool durable_is_unsure(const struct durable *d, const struct stat *st);

// Is a file with the status @st over the tick of its last change, so that another would show?
bool durable_settled(const struct durable *d, const struct stat *st);
