// A private copy of an object: what a guest gets instead of a link.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct store;

// Copies the first @keep bytes of @object and all its metadata into a new nameless file in tmp/, and returns
// its fd, which the caller owns. With @flush its data are on the disk, unless they are a clone, which the
// filesystem journals in order with a rename, or none. *@ret is the object's status. -ENOSPC, -EDQUOT, -EIO…:
// there is no copy.
int copy_private(struct store *s, int object, uint64_t keep, bool flush, struct stat *ret);
