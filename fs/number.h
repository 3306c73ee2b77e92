// Inode numbers as the guest sees them. A private file has its backing inode's. A link's is made from its
// name, because its inode is shared; bit 62 keeps the two kinds apart. Files of another subvolume (btrfs)
// have the numbers that the root's have, on a device of their own, and the mount shows one device: theirs are
// made from both, with bit 61. A file keeps its number for the life of the mount when its link is broken or
// renamed: that is remembered here, 24 bytes a file. All functions are called with hashfs.table_lock held.
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct handle;
struct hashfs;

// The key of a name: 64 bits of its directory's inode and the name.
uint64_t number_name_key(const struct hashfs *fs, const struct handle *dir, const char *name);

uint64_t number_of_link(const struct hashfs *fs, uint64_t name_key);
uint64_t number_of_inode(const struct hashfs *fs, dev_t dev, uint64_t ino);

// From now on the name, or the private file, has @number. Without memory it gets another number in time:
// nothing worse.
void number_set_link(struct hashfs *fs, uint64_t name_key, uint64_t number);
void number_set_inode(struct hashfs *fs, dev_t dev, uint64_t ino, uint64_t number);

// The name, or the inode, is gone.
void number_drop_link(struct hashfs *fs, uint64_t name_key);
void number_drop_inode(struct hashfs *fs, dev_t dev, uint64_t ino);

void number_free_all(struct hashfs *fs);
