#include "hashify/reader.h"

#include "hashify/dircache.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/content.h"
#include "store/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Bytes of a file that is kept in memory while it is compared. Small enough to come from malloc's own heap.
#define SMALL ((uint64_t)64 * 1024)

struct reader {
	uint64_t seed;
	struct dircache *dirs;         // owned
	struct digest_stream *stream;  // owned
	char *buffers[2];              // owned, CONTENT_BUFFER_SIZE bytes each
};

int reader_new(const struct tree *trees, int pool, uint64_t seed, size_t dirs, struct reader **ret)
{
	struct reader *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->seed = seed;
	r->stream = digest_stream_new(seed);
	r->buffers[0] = malloc(CONTENT_BUFFER_SIZE);
	r->buffers[1] = malloc(CONTENT_BUFFER_SIZE);
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
	free(r);
}

int reader_dir(struct reader *r, const struct tree_file *f)
{
	return dircache_open(r->dirs, f);
}

// O_NONBLOCK: a FIFO that has taken the file's name must not block us. O_NOATIME is for the owner and root
// alone.
static int open_file(int dir, const char *name)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	int fd = beneath_open(dir, name, flags | O_NOATIME, 0);
	return fd == -EPERM ? beneath_open(dir, name, flags, 0) : fd;
}

static bool is_as_seen(const struct stat *st, const struct tree_file *f)
{
	return st->st_ino == f->ino && st->st_nlink == 1 && (uint64_t)st->st_size == f->size &&
	       st->st_mode == f->mode && st->st_uid == f->uid && st->st_gid == f->gid &&
	       st->st_mtim.tv_sec == f->mtime && st->st_mtim.tv_nsec == (long)f->mtime_nsec;
}

// Closing @fd, which stays the caller's, ends the claim.
static int claim(int fd, const struct tree_file *f, struct claim *ret)
{
	struct claim c;
	int r = claim_take(fd, &c);
	if (r == -EINVAL) {  // no leases here; or something that takes none has the file's name now
		struct stat st;
		return fstat(fd, &st) == 0 && !is_as_seen(&st, f) ? -ESTALE : -EOPNOTSUPP;
	}
	if (r < 0)
		return r;
	if (!is_as_seen(&c.st, f))
		return -ESTALE;
	*ret = c;
	return 0;
}

int reader_open(struct reader *r, const struct tree_file *f, struct reading *ret)
{
	int dir = reader_dir(r, f);
	if (dir < 0)
		return dir;
	auto_close int fd = open_file(dir, f->name);
	if (fd < 0)
		return fd;

	struct reading reading = { .file = f };
	int err = claim(fd, f, &reading.claim);
	if (err < 0)
		return err;
	err = xattr_read(fd, &reading.xattrs);
	if (err < 0)
		return err;
	reading.identity = identity_digest(r->seed, &reading.claim.st, &reading.xattrs);
	reading.claim.fd = take_fd(&fd);
	*ret = reading;
	return 0;
}

void reader_close(struct reading *reading)
{
	claim_end(&reading->claim);
	xattr_free(&reading->xattrs);
	free(reading->content);
	reading->content = NULL;
}

static uint64_t size_of(const struct reading *reading)
{
	return (uint64_t)reading->claim.st.st_size;
}

// Reads exactly @size bytes.
static int read_piece(int fd, void *buffer, size_t size, uint64_t at)
{
	ssize_t got = fd_pread_all(fd, buffer, size, at);
	if (got < 0)
		return (int)got;
	return (size_t)got == size ? 0 : -ESTALE;
}

// Reads all of a small file.
static int load(struct reading *reading)
{
	if (reading->content)
		return 0;
	char *content = malloc(size_of(reading) + 1);
	if (!content)
		return -ENOMEM;
	int r = read_piece(reading->claim.fd, content, size_of(reading), 0);
	if (r < 0) {
		free(content);
		return r;
	}
	reading->content = content;
	return 0;
}

static int hash_large(struct reader *r, const struct reading *reading, struct digest *ret)
{
	digest_stream_reset(r->stream);
	for (uint64_t at = 0, size = size_of(reading); at < size;) {
		size_t piece = size - at < CONTENT_BUFFER_SIZE ? (size_t)(size - at) : CONTENT_BUFFER_SIZE;
		int err = read_piece(reading->claim.fd, r->buffers[0], piece, at);
		if (err < 0)
			return err;
		digest_stream_update(r->stream, r->buffers[0], piece);
		at += piece;
	}
	*ret = digest_stream_final(r->stream);
	return 0;
}

int reader_hash(struct reader *r, struct reading *reading)
{
	if (size_of(reading) > SMALL)
		return hash_large(r, reading, &reading->digest);
	int err = load(reading);
	if (err < 0)
		return err;
	reading->digest = digest_of(r->seed, reading->content, size_of(reading));
	return 0;
}

int reader_equal(struct reader *r, struct reading *a, struct reading *b)
{
	if (size_of(a) > SMALL)
		return content_equal(a->claim.fd, b->claim.fd, size_of(a), r->buffers[0], r->buffers[1]);
	int err = load(a);
	if (err == 0)
		err = load(b);
	return err < 0 ? err : memcmp(a->content, b->content, size_of(a)) == 0;
}
