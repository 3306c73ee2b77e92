// The nodes of a mount: those that a look-up can find, and the rest. All functions are called with
// hashfs.table_lock held.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct handle;
struct hashfs;
struct node;

// The link @name of @parent, whose name has the key @key (number.h). NULL: none is known.
struct node *table_find_link(struct hashfs *fs, uint64_t key, const struct node *parent, const char *name);

// The private file, directory or special file @at. NULL: none is known.
struct node *table_find_inode(struct hashfs *fs, const struct handle *at);

// Makes @n findable under @key: the name's for a link, else the backing inode number. A node that was
// findable until now needs no room; for a new one map_reserve() was called.
void table_attach(struct hashfs *fs, struct node *n, uint64_t key);

// From now on a look-up does not find @n; it may be so already.
void table_detach(struct hashfs *fs, struct node *n);

// The same for a private file that was findable, and as long as @n lives, others for the same file may not
// cache attributes. map_reserve() was called for hashfs.retired.
void table_retire(struct hashfs *fs, struct node *n);
bool table_is_retired(const struct hashfs *fs, const struct handle *at);

// @n goes away.
void table_remove(struct hashfs *fs, struct node *n);
