// Opens of regular files: the one place that decides how a node is open and when its name must be looked up
// again.
#pragma once

#include "fs/break.h"
#include "fs/fuse.h"

struct file;
struct hashfs;
struct node;

struct opened {
	int backing_id;     // passthrough; 0: the daemon reads and writes
	struct file *file;  // then this; else NULL, unless
	bool direct;        // all that is read and written comes to it
};

// Opens @n with the open(2) flags @flags for the caller of @req; a write, or O_TRUNC, breaks a link first.
// BREAK_TAKES_LONG: as break_link(). OPENS_MAY_WAIT: the same, and who has the file open may keep it from
// being truncated for as long as he likes. -ESTALE: look the name up again. -ENFILE: other requests need the
// descriptors that are left. -EBUSY: asked for writing through a descriptor or a mount of the single file,
// while others still read what it was before.
#define OPENS_MAY_WAIT (BREAK_TAKES_LONG - 1)
int opens_begin(struct hashfs *fs, struct node *n, int flags, fuse_req_t req, struct opened *ret);

// Is the calling thread one that such an open may keep waiting? None is at first.
void opens_may_wait(bool may);

// As opens_begin() for a file that is new and whose backing inode *@fd has open as asked; takes *@fd where it
// is needed.
int opens_begin_new(struct hashfs *fs, struct node *n, int flags, int *fd, struct opened *ret);

// Was @n emptied by an open with O_TRUNC that may not be over?
bool opens_emptied(struct hashfs *fs, struct node *n);

// Has anybody @n open for writing?
bool opens_for_writing(struct hashfs *fs, struct node *n);

// One open less, with the same @flags; @file is what opens_begin() returned.
void opens_end(struct hashfs *fs, struct node *n, int flags, struct file *file);
