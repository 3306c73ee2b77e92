// Opens a guest's file, claims it, reads it once. A reader belongs to one worker.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "hashify/tree.h"
#include "store/claim.h"
#include "store/digest.h"
#include "store/xattr.h"

struct reader;

// A file that is open under a claim: nobody can write it unseen until reader_close().
struct reading {
	const struct tree_file *file;
	struct claim claim;       // owned with its fd; -1: closed
	struct xattr_set xattrs;  // owned
	uint64_t identity;        // digest of identity.h
	struct digest digest;     // of the content; after reader_hash()
	char *content;            // owned: all of it, if it is small and was read; NULL: it was not
};

// A reader of the files of @trees in @pool (both borrowed), hashing with the store's @seed and keeping up to
// @dirs directories open. -ENOMEM.
int reader_new(const struct tree *trees, int pool, uint64_t seed, size_t dirs, struct reader **ret);
void reader_free(struct reader *r);

// Opens and claims @f. -ESTALE, -ENOENT: it is no longer the file that the walk saw; -EAGAIN: somebody writes
// it or may; -EXDEV: something is mounted on its name; -EOPNOTSUPP: no leases here.
int reader_open(struct reader *r, const struct tree_file *f, struct reading *ret);
void reader_close(struct reading *reading);

// Reads all of it and sets its digest. -ESTALE: it has not the size it had.
int reader_hash(struct reader *r, struct reading *reading);

// Have @a and @b, which are of one size, the same bytes? 1 or 0, or the error of reading them. What of them
// is small is kept, so that each is read once for all comparisons under its claim.
int reader_equal(struct reader *r, struct reading *a, struct reading *b);

// The directory of @f; the fd stays the reader's, and open until two others have been used.
int reader_dir(struct reader *r, const struct tree_file *f);
