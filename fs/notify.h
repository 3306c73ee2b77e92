// Tell the kernel what changed behind its back.
#pragma once

struct hashfs;
struct node;

// The kernel's cached attributes of @n are out of date. May be called while a request is handled: without a
// range of data the kernel takes no lock that a request could hold (fs/fuse/inode.c,
// fuse_reverse_inval_inode).
void notify_attributes(struct hashfs *fs, struct node *n);
