// Directories that guests have open. What a stream holds of its directory can be had anew, so only the
// streams used last hold anything: the others are opened again, and go on by their offset.
#pragma once

#include <dirent.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

#include "store/base/list.h"

struct hashfs;
struct node;

// A stream takes a descriptor, 33 KiB and its listing. The listing that was used last is kept however large
// it is.
#define STREAMS_KEPT 256
#define LISTINGS_KEPT ((size_t)64 << 20)

struct streams {
	pthread_mutex_t lock;  // guards all below, and what the streams in the list hold
	struct list idle;  // those that hold something and that no request is at, the longest unused first
	size_t count;
	size_t size;  // of their listings, in bytes
};

// What is dropped.
struct listing {
	DIR *dir;     // owned; NULL: nothing is held
	char *all;    // owned; with hashfs.snapshots: one struct dirent after the other
	size_t size;  // of @all, in bytes
};

// An open directory, or with hashfs.stateless_dirs one read of it. The kernel sends one request at a time
// (the file position's lock), and none as long as it has the entries in its cache. All zero: not read yet.
struct dir_stream {
	struct list idle;  // in streams.idle while no request is at it
	struct listing held;
	size_t at;            // in @held.all
	off_t offset;         // of @next, or where the next entry is
	struct dirent *next;  // read already but not replied yet, or NULL
};

void streams_init(struct streams *l);

// Drops what is held by streams that the kernel has not closed.
void streams_destroy(struct streams *l);

// NULL: no memory.
struct dir_stream *stream_new(void);
void stream_free(struct streams *l, struct dir_stream *s);

// A request begins to use @s, and is done with it. In between no other touches what @s holds; after it,
// others may drop that.
void stream_take(struct streams *l, struct dir_stream *s);
void stream_keep(struct streams *l, struct dir_stream *s);

// Goes to the entry at @offset of the directory @n, 0 or a d_off of before.
int stream_seek(struct hashfs *fs, struct node *n, struct dir_stream *s, off_t offset);

// 1 and the entry in s->next, 0 at the end, or -errno. It stays the next one until stream_advance().
int stream_peek(struct dir_stream *s);
void stream_advance(struct dir_stream *s);

// An fd of the directory, which stays the stream's, after stream_seek().
int stream_fd(const struct dir_stream *s);

// Drops what @s holds, which no other thread knows of.
void stream_drop(struct dir_stream *s);
