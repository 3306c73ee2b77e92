#include "store/identity.h"

#include <string.h>

#include "store/digest.h"

// What is hashed besides the xattrs. Part of the format: fixed width, host byte order as in every name of the
// store.
struct fixed {
	uint32_t mode, uid, gid, mtime_nsec;
	int64_t mtime_sec;
};

static struct fixed fixed_of(const struct stat *st, unsigned ignored)
{
	struct fixed f = {
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
		.mtime_sec = st->st_mtim.tv_sec,
	};
	if (f.mode & (S_ISUID | S_ISGID))
		ignored &= ~(unsigned)(IDENTITY_MODE | IDENTITY_OWNER);
	if (ignored & IDENTITY_MODE)
		f.mode = 0;
	if (ignored & IDENTITY_OWNER)
		f.uid = f.gid = 0;
	if (ignored & IDENTITY_MTIME) {
		f.mtime_sec = 0;
		f.mtime_nsec = 0;
	}
	return f;
}

// A part of @all, which stays the owner.
static struct xattr_set counted(const struct xattr_set *all, unsigned ignored)
{
	return ignored & IDENTITY_XATTRS ? xattr_find(all, "security.capability") : *all;
}

uint64_t identity_digest(uint64_t seed, const struct stat *st, const struct xattr_set *xattrs,
			 unsigned ignored)
{
	struct fixed f = fixed_of(st, ignored);
	struct xattr_set x = counted(xattrs, ignored);
	uint64_t plain = digest_hash64(seed, &f, sizeof(f));

	// Most files have no xattrs; chaining by the seed spares a buffer for those that do.
	return x.size ? digest_hash64(plain, x.data, x.size) : plain;
}

bool identity_equal(const struct stat *a, const struct xattr_set *ax, const struct stat *b,
		    const struct xattr_set *bx, unsigned ignored)
{
	struct fixed fa = fixed_of(a, ignored), fb = fixed_of(b, ignored);
	struct xattr_set xa = counted(ax, ignored), xb = counted(bx, ignored);

	return memcmp(&fa, &fb, sizeof(fa)) == 0 && xattr_equal(&xa, &xb);
}

unsigned identity_differs(const struct stat *a, const struct xattr_set *ax, const struct stat *b,
			  const struct xattr_set *bx)
{
	unsigned differs = 0;
	if (a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec)
		differs |= IDENTITY_MTIME;
	if (a->st_uid != b->st_uid || a->st_gid != b->st_gid)
		differs |= IDENTITY_OWNER;
	if ((a->st_mode & 07777) != (b->st_mode & 07777))
		differs |= IDENTITY_MODE;
	if (!xattr_equal(ax, bx))
		differs |= IDENTITY_XATTRS;
	return differs;
}

uint64_t identity_class(uint64_t seed, const struct stat *st, unsigned ignored)
{
	struct fixed f = fixed_of(st, ignored);

	return digest_hash64(seed ^ (uint64_t)st->st_size, &f, sizeof(f));
}

int identity_same(int a, const struct stat *a_st, int b, const struct stat *b_st)
{
	struct xattr_set ax = { 0 }, bx = { 0 };

	int r = xattr_read(a, &ax);
	if (r == 0)
		r = xattr_read(b, &bx);
	if (r == 0)
		r = identity_equal(a_st, &ax, b_st, &bx, 0);
	xattr_free(&ax);
	xattr_free(&bx);
	return r;
}
