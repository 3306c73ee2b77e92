// A private copy of an object: what a guest gets instead of a link. And the copy of a guest's file that is to
// be an object and cannot be one itself.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct content_watch;
struct object_key;
struct store;

// Copies the first @keep bytes of @object and all its metadata into a new nameless file in tmp/, and returns
// its fd, which the caller owns. With @flush its data are on the disk, unless they are a clone, which the
// filesystem journals in order with a rename, or none; or copy_flush_named() is to do that. *@ret is the
// object's status. -ENOSPC, -EDQUOT, -EIO…: there is no copy.
int copy_private(struct store *s, int object, uint64_t keep, bool flush, struct stat *ret);

// The same of the whole of @fd, a guest's file that somebody may yet write to: nothing that is written to
// that from now on is the copy's. XFS writes a page that is dirtied long after it was made writable where the
// file's block was then, though a clone has it as well now (xfs_map_blocks()); btrfs does not
// (btrfs_writepage_fixup_worker()). It is flushed always: what it replaces may have been on the disk for
// years. -ENOSPC also where it would take the last room: nothing was written then; -ESTALE: @fd has become
// shorter; or what @watch has returned, if it had to be copied byte by byte.
int copy_for_object(struct store *s, int fd, const struct content_watch *watch, struct stat *ret);

// Makes @copy, nameless as yet, the object @key, or the next variant that is free.
int copy_adopt(struct store *s, int copy, struct object_key *key);

// Has the data of @copy on the disk where that takes a name: to be called when it has one in tmp/, and before
// it takes a guest's.
int copy_flush_named(const struct store *s, int copy);
