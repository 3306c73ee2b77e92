// Opens a guest's file, claims it, reads it once. A reader belongs to one worker.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hashify/pages.h"
#include "hashify/tree.h"
#include "store/claim.h"
#include "store/digest.h"
#include "store/name.h"
#include "store/xattr.h"

struct store;

struct reader;

// Content up to this size is read at once and kept while it is compared; it comes from malloc's own heap.
#define READER_SMALL ((uint64_t)16 * 1024)

// How many files can be sent for at once.
#define READER_AHEAD 64

// A file that is open under a claim: nobody can write it unseen until reader_close().
struct reading {
	struct tree_file *file;   // NULL: it is an object of the store
	struct claim claim;       // owned with its fd; -1: closed
	struct xattr_set xattrs;  // owned
	uint64_t identity;        // digest of identity.h, without what is ignored
	bool hashed;
	struct digest digest;  // of the content, if it is hashed
	char *content;         // owned: room for all of it, if it is small; NULL: nothing was read yet
	bool loaded;           // @content is there
	bool cold;             // it was not in the page cache
	bool is_fresh;         // no page of it in memory is older than our claim; reader_renew()
	struct pages pages;    // owned: what of it was there; the rest leaves with reader_close()
};

// A reader of the files of @trees in @pool (both borrowed), hashing with the store's @seed, leaving the
// identity fields @ignored out and keeping up to @dirs directories open. -ENOMEM.
int reader_new(const struct tree *trees, int pool, uint64_t seed, unsigned ignored, size_t dirs,
	       struct reader **ret);
void reader_free(struct reader *r);

// Has @idle, unless NULL, called with @arg after each MiB that is read of a large file.
void reader_while_reading(struct reader *r, void (*idle)(void *arg), void *arg);

// Opens and claims @f. -ESTALE, -ENOENT: it is no longer the file that the walk saw, or may change without a
// sign (claim.h); -EAGAIN: somebody writes it or may; -EXDEV: something is mounted on its name; -EOPNOTSUPP:
// no leases here; -E2BIG: its xattrs are too large (xattr.h).
int reader_open(struct reader *r, struct tree_file *f, struct reading *ret);

// Opens and claims the object @key. What it has for identity is what its name tells, and it had when it was
// made: compare that of the file. Errors as of object_open() and reader_open().
int reader_open_object(struct store *s, const struct object_key *key, struct reading *ret);

// Is an open file still what was compared? Somebody may have it open for writing, natively: he waits for our
// lease, and we stop using what he will write to. Or has changed its xattrs, which breaks no lease and moves
// the ctime alone; and each of our own links moves that, too (@names_moved).
bool reader_holds(const struct reading *reading, bool names_moved);

// Has a reader watch what @reading claims as well, whatever it reads, until reader_watch_no_more(), which is
// for the latest. READER_WATCHED at most.
#define READER_WATCHED 2
void reader_watch(struct reader *r, const struct reading *reading);
void reader_watch_no_more(struct reader *r);

// For who has something of what is watched to read (@reader is a struct reader), before each piece. -EINTR:
// the pass is to stop; -EAGAIN: somebody waits to write to what is watched.
int reader_look_around(void *reader);

// Claims what is open as @fd, which is the reading's from then on, and has, or is to have, this @identity.
int reader_claim(int fd, uint64_t identity, struct reading *ret);

// Closes it, and takes out of the page cache what it has brought there: since reader_ahead(), and unless
// somebody has emptied @reading->pages.
void reader_close(struct reading *reading);

// 64 bits of its xattrs that give rights, and so are never ignored; 0: it has none.
uint64_t reader_rights(const struct reading *reading);

// Takes what the page cache has of small files and has the disk begin with the rest, without waiting for it,
// in the order of their places on the disk; @readings is put in that order.
// Which pages were there is certain if they are taken to be @likely_cold. If not, it costs nothing where all
// are; but what comes without the disk (a file in btrfs' metadata) seems to have been there, and what is
// behind the first missing page may seem to have been missing, too.
void reader_ahead(struct reader *r, struct reading **readings, unsigned count, bool likely_cold);

// Can neither it nor what is in its directory be replaced, because one of them is immutable or append-only?
bool reader_is_frozen(struct reader *r, const struct reading *reading);

// What is in @reading->pages, for who takes over to drop them.
struct pages reader_take_pages(struct reading *reading);

// Drops it, which is not fresh, from the page cache. If nothing stays it is fresh then, and nobody can write
// to it until reader_close(): a direct read into a mapping writes to the pages that it holds for as long as
// it takes, when the mapping and all descriptors are gone, and no claim tells of that; but no page that
// somebody holds is dropped. What of it was read before is forgotten.
void reader_renew(struct reading *reading);

// Reads all of it and hashes it. -ESTALE: it has not the size it had.
int reader_hash(struct reader *r, struct reading *reading);

// Have @a and @b, which are of one size, the same bytes? 1 or 0, or the error of reading them. What of them
// is small is kept, so that each is read once for all comparisons under its claim.
int reader_equal(struct reader *r, struct reading *a, struct reading *b);

// Has the file on the disk the content that @reading was found to have, of this @digest? READER_SAME also
// where that cannot be told; or the error of reading it.
enum reader_disk { READER_DIFFERS, READER_SAME };
int reader_check_disk(struct reader *r, const struct reading *reading, struct digest digest);

// Takes what was not there before (@pages) of @f, which is closed, out of the page cache.
void reader_drop_pages(struct reader *r, const struct tree_file *f, const struct pages *pages);

// The directory of @f; the fd stays the reader's, and open until two others have been used.
int reader_dir(struct reader *r, const struct tree_file *f);
