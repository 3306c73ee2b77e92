// Identity: all that names of one inode share besides content. Two files may share an object only if these
// are equal: mode, uid, gid, mtime to the nanosecond, and the whole xattr set (ACLs, capabilities, labels).
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "store/xattr.h"

// The identity's 64 bits in an object's name. Equal identities have equal digests; compare before linking.
uint64_t identity_digest(uint64_t seed, const struct stat *st, const struct xattr_set *xattrs);

bool identity_equal(const struct stat *a, const struct xattr_set *ax, const struct stat *b,
		    const struct xattr_set *bx);

// The same for two open files, whose xattrs are read now. 1 or 0, or a negative errno.
int identity_same(int a, const struct stat *a_st, int b, const struct stat *b_st);
