// A private copy of an object: what a guest gets instead of a link. And the copy of a guest's file that is to
// be an object and cannot be one itself.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct object_key;
struct store;

// Copies the first @keep bytes of @object and all its metadata into a new nameless file in tmp/, and returns
// its fd, which the caller owns. With @flush its data are on the disk, unless they are a clone, which the
// filesystem journals in order with a rename, or none; or copy_flush_named() is to do that. *@ret is the
// object's status. -ENOSPC, -EDQUOT, -EIO…: there is no copy.
int copy_private(struct store *s, int object, uint64_t keep, bool flush, struct stat *ret);

// Makes a copy of the file @fd the object @key, and with @flush has its data on the disk. -EEXIST: @key
// exists (take the next variant).
int copy_to_object(struct store *s, int fd, const struct object_key *key, bool flush);

// Has the data of @copy on the disk where that takes a name: to be called when it has one in tmp/, and before
// it takes a guest's.
int copy_flush_named(const struct store *s, int copy);
