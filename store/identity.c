#include "store/identity.h"

#include <string.h>

#include "store/digest.h"

// What is hashed besides the xattrs. Part of the format: fixed width, host byte order as in every name of the
// store.
struct fixed {
	uint32_t mode, uid, gid, mtime_nsec;
	int64_t mtime_sec;
};

static struct fixed fixed_of(const struct stat *st)
{
	return (struct fixed){
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
		.mtime_sec = st->st_mtim.tv_sec,
	};
}

uint64_t identity_digest(uint64_t seed, const struct stat *st, const struct xattr_set *xattrs)
{
	struct fixed f = fixed_of(st);
	uint64_t plain = digest_hash64(seed, &f, sizeof(f));

	// Most files have no xattrs; chaining by the seed spares a buffer for those that do.
	return xattrs->size ? digest_hash64(plain, xattrs->data, xattrs->size) : plain;
}

bool identity_equal(const struct stat *a, const struct xattr_set *ax, const struct stat *b,
		    const struct xattr_set *bx)
{
	struct fixed fa = fixed_of(a), fb = fixed_of(b);
	return memcmp(&fa, &fb, sizeof(fa)) == 0 && xattr_equal(ax, bx);
}

int identity_same(int a, const struct stat *a_st, int b, const struct stat *b_st)
{
	struct xattr_set ax = { 0 }, bx = { 0 };

	int r = xattr_read(a, &ax);
	if (r == 0)
		r = xattr_read(b, &bx);
	if (r == 0)
		r = identity_equal(a_st, &ax, b_st, &bx);
	xattr_free(&ax);
	xattr_free(&bx);
	return r;
}
