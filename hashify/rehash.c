#include "hashify/rehash.h"

#include "hashify/direct.h"
#include "hashify/pages.h"
#include "hashify/stop.h"
#include "hashify/throttle.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/content.h"
#include "store/digest.h"
#include "store/identity.h"
#include "store/mark.h"
#include "store/object.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALLEST_PAGE 4096

// A part of a file that is read in one go, and which of its pages were in memory before. Much longer than
// what the kernel reads ahead.
#define WINDOW ((uint64_t)8 * 1024 * 1024)

struct window {
	struct pages pages;  // of 0 bytes: the file has ended
	unsigned char room[WINDOW / SMALLEST_PAGE];
};

struct rehash {
	struct store *store;
	struct throttle *throttle;     // borrowed; may be NULL
	struct digest_stream *stream;  // owned
	struct window windows[2];
	char *buffers[2];  // owned, CONTENT_BUFFER_SIZE bytes each
};

const char *damage_word(enum damage one)
{
	switch (one) {
	case DAMAGE_KIND:
		return "kind";
	case DAMAGE_SIZE:
		return "size";
	case DAMAGE_METADATA:
		return "metadata";
	case DAMAGE_MARK:
		return "mark";
	case DAMAGE_CONTENT:
		return "content";
	case DAMAGE_DISK:
		return "disk";
	default:
		return "unreadable";
	}
}

void damage_print(unsigned damage, char ret[DAMAGE_WORDS_SIZE])
{
	int used = 0;

	ret[0] = '\0';
	for (unsigned one = 1; one < DAMAGE_END; one <<= 1)
		if (damage & one)
			used += snprintf(ret + used, DAMAGE_WORDS_SIZE - (size_t)used, "%s%s",
					 used > 0 ? ", " : "", damage_word(one));
}

int rehash_new(struct store *s, struct throttle *throttle, struct rehash **ret)
{
	struct rehash *h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->store = s;
	h->throttle = throttle;
	h->stream = digest_stream_new(s->seed);
	for (int i = 0; i < 2; i++)
		h->buffers[i] = aligned_alloc(DIRECT_ALIGN, CONTENT_BUFFER_SIZE);
	if (!h->stream || !h->buffers[0] || !h->buffers[1]) {
		rehash_free(h);
		return -ENOMEM;
	}
	*ret = h;
	return 0;
}

void rehash_free(struct rehash *h)
{
	if (!h)
		return;
	if (h->stream)
		digest_stream_free(h->stream);
	free(h->buffers[0]);
	free(h->buffers[1]);
	free(h);
}

static void look(int fd, uint64_t at, uint64_t end, struct window *ret)
{
	pages_look(fd, at, end - at < WINDOW ? end - at : WINDOW, ret->room, &ret->pages);
}

// REHASH_DIFFERS: the disk has something else.
static int read_piece(struct rehash *h, int fd, uint64_t at, size_t size, bool in_memory)
{
	ssize_t got = fd_pread_all(fd, h->buffers[0], size, at);
	if (got < 0)
		return (int)got;
	if ((size_t)got != size)
		return -ESTALE;
	got = in_memory ? direct_read(fd, h->buffers[1], size, at) : -EOPNOTSUPP;
	if (got == -EOPNOTSUPP)
		return 0;
	if (got < 0)
		return (int)got;
	return (size_t)got == size && memcmp(h->buffers[0], h->buffers[1], size) == 0 ? 0 : REHASH_DIFFERS;
}

static int hash_part(struct rehash *h, int fd, const struct pages *p)
{
	bool in_memory = pages_were_there(p);

	for (uint64_t done = 0; done < p->size;) {
		uint64_t left = p->size - done;
		size_t piece = left < CONTENT_BUFFER_SIZE ? (size_t)left : CONTENT_BUFFER_SIZE;
		throttle_take(h->throttle, piece, NULL, NULL);
		if (stop_asked())
			return -EINTR;
		int r = read_piece(h, fd, p->at + done, piece, in_memory);
		if (r != 0)
			return r;
		digest_stream_update(h->stream, h->buffers[0], piece);
		done += piece;
	}
	return 0;
}

int rehash_content(struct rehash *h, int fd, uint64_t size, struct digest *ret)
{
	struct window *now = &h->windows[0], *next = &h->windows[1];
	int r = 0;

	digest_stream_reset(h->stream);
	look(fd, 0, size, now);
	while (r == 0 && now->pages.size > 0) {
		look(fd, now->pages.at + now->pages.size, size, next);  // before it is read ahead
		r = hash_part(h, fd, &now->pages);
		// What the guests have in memory stays there, what only we have read does not.
		pages_drop(fd, &now->pages);
		struct window *last = now;
		now = next;
		next = last;
	}
	*ret = digest_stream_final(h->stream);
	return r;
}

static int check_metadata(const struct rehash *h, int fd, const struct stat *st, const struct object_key *key,
			  unsigned *ret)
{
	struct xattr_set xattrs = { 0 };
	struct digest marked;

	int r = xattr_read(fd, &xattrs);
	if (r < 0 && r != -E2BIG)
		return r;
	// No pass makes an object of what has so many xattrs.
	if (r == -E2BIG || identity_digest(h->store->seed, st, &xattrs, 0) != key->identity)
		*ret |= DAMAGE_METADATA;
	xattr_free(&xattrs);

	r = mark_read(h->store->marks, fd, st, &marked);
	if (r == -ENODATA || (r == 0 && !digest_equal(marked, key->digest))) {
		*ret |= DAMAGE_MARK;
		return 0;
	}
	return r;
}

static int check(struct rehash *h, int fd, const struct object_key *key, unsigned *ret, uint64_t *ret_read)
{
	struct digest digest;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		*ret |= DAMAGE_KIND;
		return 0;
	}
	int r = check_metadata(h, fd, &st, key, ret);
	if (r < 0)
		return r;
	if ((uint64_t)st.st_size != key->size) {
		*ret |= DAMAGE_SIZE;
		return 0;
	}
	r = rehash_content(h, fd, key->size, &digest);
	if (r == -ESTALE || r == REHASH_DIFFERS) {
		*ret |= r == -ESTALE ? DAMAGE_SIZE : DAMAGE_DISK;
		return 0;
	}
	if (r < 0)
		return r;
	*ret_read += key->size;
	if (!digest_equal(digest, key->digest))
		*ret |= DAMAGE_CONTENT;
	return 0;
}

// Does the error say that the disk, or the filesystem on it, has lost the file? A file that we may not open
// is no more what was put into our own store, either.
static bool is_unreadable(int r)
{
	return r == -EIO || r == -EUCLEAN || r == -EBADMSG || r == -ENODATA || r == -EILSEQ || r == -EACCES ||
	       r == -EREMOTEIO;
}

int rehash_object(struct rehash *h, const struct object_key *key, unsigned *ret, uint64_t *ret_read)
{
	unsigned damage = 0;

	auto_close int fd = object_open_unchecked(h->store, key);
	int r = fd;
	if (r == -ELOOP || r == -ENXIO)  // a symbolic link, a socket
		damage = DAMAGE_KIND;
	else if (r >= 0)
		r = check(h, fd, key, &damage, ret_read);
	if (is_unreadable(r))
		damage |= DAMAGE_UNREADABLE;
	else if (r < 0 && damage == 0)
		return r;
	*ret = damage;
	return 0;
}
