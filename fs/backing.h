// Passthrough: backing ids, which tell the kernel which inode serves reads and writes of a FUSE file.
//
// While a FUSE inode is open in passthrough every further open of it must carry the same id (fs/fuse/iomode.c
// compares ids, not inodes): so there is one id per backing inode, shared by all nodes and guests, counted by
// the nodes that have it open. The last some stay known while idle: an open of anything opened before costs
// no system call.
#pragma once

#include <stdbool.h>

#include "fs/handle.h"
#include "store/base/list.h"

struct backings;
struct hashfs;

struct backing {
	int id;            // the kernel's, > 0
	struct handle at;  // what it serves
	bool readonly;     // registered through the read-only clone
	unsigned users;    // nodes that have it open; under backings.lock, as all below
	bool deleted;      // its file has lost a name: not kept while idle
	struct list idle;  // in backings.idle while there are no users
};

void backings_init(struct backings *b);

// Tells the kernel to forget all; the mount is over.
void backings_free(struct hashfs *fs);

// Gets the id of the inode @at, registered read-only for an object, else writable; @fd may be the file, or
// -1. -EPERM: no passthrough for us; -ELOOP: the backing filesystem is itself stacked.
int backing_get(struct hashfs *fs, const struct handle *at, int fd, bool object, struct backing **ret);

void backing_put(struct hashfs *fs, struct backing *b);

// The file @at loses its last name, or a guest's of an object, which may be the last one but the store's: its
// id pins its blocks no longer than it is open.
void backing_deleted(struct hashfs *fs, const struct handle *at);
