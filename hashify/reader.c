#include "hashify/reader.h"

#include "hashify/dircache.h"
#include "hashify/direct.h"
#include "hashify/ring.h"
#include "hashify/stop.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/sys.h"
#include "store/identity.h"
#include "store/object.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

// What is read of a large file at a time: there are two buffers a worker.
#define PIECE ((size_t)64 * 1024)

// How far ahead of us the disk is sent in a large file.
#define AHEAD ((uint64_t)1024 * 1024)

struct reader {
	uint64_t seed;
	unsigned ignored;
	struct dircache *dirs;         // owned
	struct digest_stream *stream;  // owned
	char *buffers[2];              // owned, PIECE bytes each
	struct ring *ring;             // owned; NULL: not needed yet, or there is none
	bool no_ring;
	void (*idle)(void *arg);  // NULL: nothing is to be done meanwhile
	void *idle_arg;
	const struct claim *watched[READER_WATCHED];
	unsigned watched_count;
};

int reader_new(const struct tree *trees, int pool, uint64_t seed, unsigned ignored, size_t dirs,
	       struct reader **ret)
{
	struct reader *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->seed = seed;
	r->ignored = ignored;
	r->stream = digest_stream_new(seed);
	r->buffers[0] = aligned_alloc(DIRECT_ALIGN, PIECE);
	r->buffers[1] = aligned_alloc(DIRECT_ALIGN, PIECE);
	if (!r->stream || !r->buffers[0] || !r->buffers[1] || dircache_new(trees, pool, dirs, &r->dirs) < 0) {
		reader_free(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}

void reader_free(struct reader *r)
{
	if (!r)
		return;
	dircache_free(r->dirs);
	if (r->stream)
		digest_stream_free(r->stream);
	free(r->buffers[0]);
	free(r->buffers[1]);
	ring_free(r->ring);
	free(r);
}

void reader_while_reading(struct reader *r, void (*idle)(void *arg), void *arg)
{
	r->idle = idle;
	r->idle_arg = arg;
}

int reader_dir(struct reader *r, const struct tree_file *f)
{
	return dircache_open(r->dirs, f);
}

static bool is_as_seen(const struct reader *r, const struct stat *st, const struct tree_file *f)
{
	return st->st_ino == f->ino && st->st_nlink == 1 && S_ISREG(st->st_mode) &&
	       (uint64_t)st->st_size == f->size &&
	       (uint32_t)identity_class(r->seed, st, r->ignored) == f->class;
}

static bool is_frozen(int fd)
{
	struct statx st;
	return fd >= 0 && statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) == 0 &&
	       st.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND);
}

bool reader_is_frozen(struct reader *r, const struct reading *reading)
{
	return is_frozen(reading->claim.fd) || is_frozen(reader_dir(r, reading->file));
}

// Closing @fd, which stays the caller's, ends the claim.
static int claim(const struct reader *reader, int fd, const struct tree_file *f, struct claim *ret)
{
	struct claim c;
	int r = claim_take(fd, &c);
	if (r == -EINVAL) {  // no leases here; or something that takes none has the file's name now
		struct stat st;
		return fstat(fd, &st) == 0 && !is_as_seen(reader, &st, f) ? -ESTALE : -EOPNOTSUPP;
	}
	if (r < 0)
		return r;
	if (!is_as_seen(reader, &c.st, f) || claim_may_end_unseen(&c))
		return -ESTALE;
	*ret = c;
	return 0;
}

int reader_open(struct reader *r, struct tree_file *f, struct reading *ret)
{
	int dir = reader_dir(r, f);
	if (dir < 0)
		return dir;
	auto_close int fd = beneath_open_file(dir, f->name);
	if (fd < 0)
		return fd;

	struct reading reading = { .file = f };
	int err = claim(r, fd, f, &reading.claim);
	if (err < 0)
		return err;
	err = xattr_read(fd, &reading.xattrs);
	if (err < 0)
		return err;
	reading.identity = identity_digest(r->seed, &reading.claim.st, &reading.xattrs, r->ignored);
	reading.claim.fd = take_fd(&fd);
	*ret = reading;
	return 0;
}

int reader_claim(int fd, uint64_t identity, struct reading *ret)
{
	struct reading r = { .identity = identity };
	int err = claim_take(fd, &r.claim);
	if (err < 0)
		return err;
	err = xattr_read(fd, &r.xattrs);
	if (err == 0)
		*ret = r;
	return err;
}

int reader_open_object(struct store *s, const struct object_key *key, struct reading *ret)
{
	struct stat st;
	auto_close int fd = object_open(s, key, &st);
	if (fd < 0)
		return fd;
	int err = reader_claim(fd, key->identity, ret);
	if (err == 0)
		take_fd(&fd);
	return err;
}

bool reader_holds(const struct reading *reading, bool names_moved)
{
	return claim_holds(&reading->claim, names_moved) == 1 &&
	       xattr_same(reading->claim.fd, &reading->xattrs);
}

struct pages reader_take_pages(struct reading *reading)
{
	struct pages taken = reading->pages;
	reading->pages = (struct pages){ 0 };
	return taken;
}

static uint64_t size_of(const struct reading *reading)
{
	return (uint64_t)reading->claim.st.st_size;
}

// What the disk was sent for and nobody has read. It cannot be dropped before it is there.
static void await(const struct reading *reading)
{
	uint64_t sent = size_of(reading) < AHEAD ? size_of(reading) : AHEAD;
	char last;

	if (reading->cold && !reading->loaded && reading->pages.size > 0)
		(void)!pread(reading->claim.fd, &last, 1, (off_t)sent - 1);
}

void reader_close(struct reading *reading)
{
	if (reading->claim.fd >= 0) {
		await(reading);
		pages_drop(reading->claim.fd, &reading->pages);
	}
	pages_free(&reading->pages);
	claim_end(&reading->claim);
	xattr_free(&reading->xattrs);
	free(reading->content);
	reading->content = NULL;
	reading->loaded = false;
}

uint64_t reader_rights(const struct reading *reading)
{
	struct xattr_set rights = xattr_find(&reading->xattrs, "security.capability");
	return rights.size > 0 ? digest_hash64(0, rights.data, rights.size) : 0;
}

static bool is_small(const struct reading *reading)
{
	return size_of(reading) <= READER_SMALL;
}

static bool has_room(struct reading *reading)
{
	if (!reading->content)
		reading->content = malloc(size_of(reading) + 1);
	return reading->content;
}

// Before any of it is sent for, which counts as there from then on.
static void look_first(struct reading *reading)
{
	uint64_t size = size_of(reading);
	int64_t cached = sys_cached_pages(reading->claim.fd, size);

	reading->is_fresh = cached == 0;
	if (cached == 0)
		reading->pages = (struct pages){ .size = size };
	else if (cached > 0 && (uint64_t)cached < pages_count(size))
		pages_look_whole(reading->claim.fd, size, &reading->pages);
}

// When what was missing from the page numbered @missing on has been sent for. If that one has come by now,
// nobody can tell any more of those behind it: it is a cold file, most likely.
static void look_late(struct reading *reading, size_t missing)
{
	size_t count = pages_count(size_of(reading));
	unsigned char *there = malloc(count + 1);

	if (!there)
		return;
	pages_look(reading->claim.fd, 0, size_of(reading), there, &reading->pages);
	if (missing < count && there[missing])
		memset(there + missing, 0, count - missing);
}

// What came of a small file at once: @got bytes, or -errno.
static void take_small(struct reading *reading, ssize_t got)
{
	reading->loaded = got >= 0 && (uint64_t)got == size_of(reading);
	reading->cold = got == -EAGAIN;
	if (reading->loaded)
		return;
	free(reading->content);  // it takes no memory while it is on its way
	reading->content = NULL;
	if (got >= 0 || reading->cold)
		look_late(reading, got > 0 ? pages_count((uint64_t)got) : 0);
	else
		look_first(reading);
}

static void large_ahead(struct reading *reading)
{
	reading->cold = reading->pages.size > 0 && !reading->pages.there;
	if (reading->cold)
		readahead(reading->claim.fd, 0, AHEAD);
}

static void read_at_once(struct ring_read *read)
{
	const struct iovec all = { read->buffer, read->size };
	ssize_t got = preadv2(read->fd, &all, 1, 0, RWF_NOWAIT);
	read->got = got < 0 ? -errno : got;
}

// What is not there yet is on its way then (filemap_get_pages() in the kernel's mm/filemap.c).
static void read_all_at_once(struct reader *r, struct ring_read *reads, unsigned count)
{
	if (count > 1 && !r->no_ring) {
		if (!r->ring)
			r->ring = ring_new(READER_AHEAD);
		if (r->ring && ring_read(r->ring, reads, count) == 0)
			return;
		ring_free(r->ring);
		r->ring = NULL;
		r->no_ring = true;
	}
	for (unsigned i = 0; i < count; i++)
		read_at_once(&reads[i]);
}

static int by_place(const void *a, const void *b)
{
	const struct tree_file *x = (*(struct reading *const *)a)->file;
	const struct tree_file *y = (*(struct reading *const *)b)->file;

	if (x->guest != y->guest)
		return x->guest < y->guest ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

void reader_ahead(struct reader *r, struct reading **readings, unsigned count, bool likely_cold)
{
	struct ring_read reads[READER_AHEAD];
	struct reading *small[READER_AHEAD];
	unsigned asked = 0;

	qsort(readings, count, sizeof(struct reading *), by_place);
	for (unsigned i = 0; i < count; i++) {
		struct reading *s = readings[i];
		if (likely_cold || !is_small(s))
			look_first(s);
		if (!is_small(s)) {
			large_ahead(s);
		} else if (likely_cold || has_room(s)) {
			// Where hardly anything comes at once, what does is not worth the memory.
			char *buffer = likely_cold ? r->buffers[0] : s->content;
			reads[asked] = (struct ring_read){ s->claim.fd, buffer, size_of(s), 0 };
			small[asked++] = s;
		}
	}
	read_all_at_once(r, reads, asked);
	for (unsigned i = 0; i < asked; i++) {
		if (likely_cold)
			small[i]->cold = reads[i].got == -EAGAIN;
		else
			take_small(small[i], reads[i].got);
	}
}

void reader_watch(struct reader *r, const struct reading *reading)
{
	assert(r->watched_count < READER_WATCHED);
	r->watched[r->watched_count++] = &reading->claim;
}

void reader_watch_no_more(struct reader *r)
{
	r->watched_count--;
}

static int look_at_watched(const struct reader *r)
{
	if (stop_asked())
		return -EINTR;
	if (r->idle)
		r->idle(r->idle_arg);
	for (unsigned i = 0; i < r->watched_count; i++)
		if (claim_is_broken(r->watched[i]))
			return -EAGAIN;  // or a writer would wait until all is read
	return 0;
}

int reader_look_around(void *reader)
{
	return look_at_watched(reader);
}

// Before what is at @at of a file is read.
static int look_around(const struct reader *r, const struct reading *reading, uint64_t at)
{
	if (at == 0 || at % AHEAD != 0)
		return stop_asked() ? -EINTR : 0;
	int err = look_at_watched(r);
	return err == 0 && claim_is_broken(&reading->claim) ? -EAGAIN : err;
}

// Reads exactly @size bytes.
static int read_piece(const struct reader *r, const struct reading *reading, void *buffer, size_t size,
		      uint64_t at)
{
	int err = look_around(r, reading, at);
	if (err < 0)
		return err;
	if (reading->cold && at % AHEAD == 0 && at + AHEAD < size_of(reading))
		readahead(reading->claim.fd, (off_t)(at + AHEAD), AHEAD);
	ssize_t got = fd_pread_all(reading->claim.fd, buffer, size, at);
	if (got < 0)
		return (int)got;
	return (size_t)got == size ? 0 : -ESTALE;
}

// Reads all of a small file.
static int load(const struct reader *r, struct reading *reading)
{
	if (reading->loaded)
		return 0;
	if (!has_room(reading))
		return -ENOMEM;
	int err = read_piece(r, reading, reading->content, size_of(reading), 0);
	reading->loaded = err == 0;
	return err;
}

static size_t piece_at(const struct reading *reading, uint64_t at)
{
	uint64_t left = size_of(reading) - at;
	return left < PIECE ? (size_t)left : PIECE;
}

static int hash_large(struct reader *r, const struct reading *reading, struct digest *ret)
{
	digest_stream_reset(r->stream);
	for (uint64_t at = 0; at < size_of(reading);) {
		size_t piece = piece_at(reading, at);
		int err = read_piece(r, reading, r->buffers[0], piece, at);
		if (err < 0)
			return err;
		digest_stream_update(r->stream, r->buffers[0], piece);
		at += piece;
	}
	*ret = digest_stream_final(r->stream);
	return 0;
}

void reader_renew(struct reading *reading)
{
	if (is_small(reading) && !reading->loaded && has_room(reading))  // on its way it cannot be dropped
		(void)!pread(reading->claim.fd, reading->content, size_of(reading), 0);
	free(reading->content);
	reading->content = NULL;
	reading->loaded = false;
	if (reading->pages.there)  // large folios would bring more, and stay for what was there
		posix_fadvise(reading->claim.fd, 0, 0, POSIX_FADV_RANDOM);
	reading->is_fresh = pages_drop_all(reading->claim.fd, size_of(reading));
}

int reader_hash(struct reader *r, struct reading *reading)
{
	int err = is_small(reading) ? load(r, reading) : hash_large(r, reading, &reading->digest);
	if (err < 0)
		return err;
	if (is_small(reading))
		reading->digest = digest_of(r->seed, reading->content, size_of(reading));
	reading->hashed = true;
	return 0;
}

static int equal_large(struct reader *r, const struct reading *a, const struct reading *b)
{
	for (uint64_t at = 0; at < size_of(a);) {
		size_t piece = piece_at(a, at);
		int err = read_piece(r, a, r->buffers[0], piece, at);
		if (err == 0)
			err = read_piece(r, b, r->buffers[1], piece, at);
		if (err < 0)
			return err;
		if (memcmp(r->buffers[0], r->buffers[1], piece) != 0)
			return 0;
		at += piece;
	}
	return 1;
}

int reader_equal(struct reader *r, struct reading *a, struct reading *b)
{
	if (!is_small(a))
		return equal_large(r, a, b);
	int err = load(r, a);
	if (err == 0)
		err = load(r, b);
	return err < 0 ? err : memcmp(a->content, b->content, size_of(a)) == 0;
}

int reader_check_disk(struct reader *r, const struct reading *reading, struct digest digest)
{
	digest_stream_reset(r->stream);
	for (uint64_t at = 0; at < size_of(reading);) {
		size_t piece = piece_at(reading, at);
		int err = look_around(r, reading, at);
		ssize_t got = err < 0 ? err : direct_read(reading->claim.fd, r->buffers[0], piece, at);
		if (got < 0)
			return got == -EOPNOTSUPP ? READER_SAME : (int)got;
		if ((size_t)got != piece)
			return READER_DIFFERS;
		digest_stream_update(r->stream, r->buffers[0], piece);
		at += piece;
	}
	return digest_equal(digest_stream_final(r->stream), digest) ? READER_SAME : READER_DIFFERS;
}

void reader_drop_pages(struct reader *r, const struct tree_file *f, const struct pages *pages)
{
	struct stat st;
	int dir = reader_dir(r, f);
	auto_close int fd = dir < 0 ? -1 : beneath_open_file(dir, f->name);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == f->ino)
		pages_drop(fd, pages);
}
