// Identity: all that names of one inode share besides content. Two files may share an object only if these
// are equal: mode, uid, gid, mtime to the nanosecond, and the whole xattr set (ACLs, capabilities, labels).
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "store/xattr.h"

// What may be left out of the comparison on request: files that differ in it alone then share an inode, and
// all of them show what the object has. Never left out, whatever is asked for, is what would give a guest's
// file rights it had not: mode and owner of a file with a set-id bit, and capabilities.
enum identity_field {
	IDENTITY_MTIME = 1 << 0,
	IDENTITY_OWNER = 1 << 1,
	IDENTITY_MODE = 1 << 2,
	IDENTITY_XATTRS = 1 << 3,
};

// 64 bits of an identity without the fields in @ignored. That without none is in an object's name. Equal
// identities have equal digests; compare before linking.
uint64_t identity_digest(uint64_t seed, const struct stat *st, const struct xattr_set *xattrs,
			 unsigned ignored);

bool identity_equal(const struct stat *a, const struct xattr_set *ax, const struct stat *b,
		    const struct xattr_set *bx, unsigned ignored);

// The fields, of enum identity_field, that differ, whatever it is that they give rights to.
unsigned identity_differs(const struct stat *a, const struct xattr_set *ax, const struct stat *b,
			  const struct xattr_set *bx);

// 64 bits of the size and of what identity_digest() can know of a file that is not open: all but its xattrs.
uint64_t identity_class(uint64_t seed, const struct stat *st, unsigned ignored);

// The same for two open files, whose xattrs are read now. 1 or 0, or a negative errno.
int identity_same(int a, const struct stat *a_st, int b, const struct stat *b_st);
