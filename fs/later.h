// Requests that take long, because much must be copied for them or another request is copying it: a few
// threads of their own serve them, so that however many there are, the others are answered meanwhile.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "fs/fuse.h"
#include "store/base/list.h"

struct hashfs;
struct node;

// So many threads, and so many of them for what may never end.
#define LATER_THREADS 6
#define LATER_WAITING 4

struct later_thread {
	struct hashfs *fs;
	pthread_t id;
	bool may_wait;              // what it serves may never end
	const struct node *serves;  // a request for it; compared only, as it may be gone after the reply
};

// Under hashfs.break_lock.
struct later {
	struct list waiting;   // struct job, the oldest first
	pthread_cond_t added;  // a job, or the end
	bool ends;
	unsigned started;  // of the threads
	struct later_thread threads[LATER_THREADS];
};

void later_init(struct later *l);
void later_destroy(struct later *l);

// Starts the threads. -EAGAIN: no more threads; later_stop() ends those there are.
int later_start(struct hashfs *fs);

// Waits for the requests that are being served, answers the others with ENOTCONN, as the kernel does once we
// are gone, and ends the threads. No other thread may be serving requests any more.
void later_stop(struct hashfs *fs);

// Serves @req for the node @ino and replies. @args are what the request came with.
typedef void later_handler(fuse_req_t req, fuse_ino_t ino, const void *args);

// A handler's answer to BREAK_TAKES_LONG: it will be called anew, with a copy of the first @size bytes of
// @args, and may take its time then. Requests for one node are served one after another. @may_wait: it may
// never end.
void later_serve(fuse_req_t req, fuse_ino_t ino, later_handler *handler, const void *args, size_t size,
		 bool may_wait);
