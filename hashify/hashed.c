#include "hashify/hashed.h"

#include "hashify/listing.h"
#include "store/base/array.h"
#include "store/base/cleanup.h"
#include "store/base/clock.h"
#include "store/base/thread.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// What a pass that is killed has read for nothing. To commit flushes nothing, and takes some milliseconds.
#define COMMIT_INTERVAL (5 * INT64_C(1000000000))

// A row that nobody asks for costs some bytes; so many of a hundred are thrown away together.
#define STALE_PERCENT 20

struct loading {
	struct hashed *hashed;
	size_t capacity;
};

static int add_row(const struct index_file *f, void *arg)
{
	struct loading *l = arg;
	struct hashed *h = l->hashed;
	if (h->count == UINT32_MAX - 1)
		return 1;
	struct index_file *rows = array_grow(h->rows, h->count, &l->capacity, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	h->rows = rows;
	h->rows[h->count++] = *f;
	return 0;
}

static int load_rows(struct hashed *h)
{
	struct loading l = { .hashed = h };
	int r = index_each(h->index, add_row, &l);
	if (r < 0)
		return r;
	h->seen = calloc(h->count + 1, 1);
	return h->seen ? 0 : -ENOMEM;
}

static void forget_rows(struct hashed *h)
{
	free(h->rows);
	free(h->seen);
	h->rows = NULL;
	h->seen = NULL;
	h->count = 0;
}

static void close_index(struct hashed *h)
{
	index_close(h->index);
	h->index = NULL;
}

// Some row is none: the index is worth nothing.
static int begin_anew(struct hashed *h, struct store *s, unsigned ignored)
{
	enum index_state state;
	close_index(h);
	int r = index_drop(s);
	return r < 0 ? r : index_open(s, ignored, true, &h->index, &state);
}

int hashed_load(struct store *s, unsigned ignored, bool write, struct hashed *ret,
		enum index_state *ret_state, int *ret_error)
{
	*ret = (struct hashed){ .store = s, .seed = s ? s->seed : 0 };
	*ret_state = INDEX_GOOD;
	*ret_error = 0;
	ret->committed = clock_ns(CLOCK_MONOTONIC_COARSE);
	mutex_init(&ret->lock);
	if (!s)
		return 0;
	int r = index_open(s, ignored, write, &ret->index, ret_state);
	if (r == 0 && ret->index)
		r = load_rows(ret);
	if (r < 0)
		forget_rows(ret);
	if (r == -EBADMSG) {
		*ret_state = INDEX_CORRUPT;
		r = write ? begin_anew(ret, s, ignored) : 0;
	}
	if (!write)
		close_index(ret);
	*ret_error = r < 0 ? r : 0;
	return r == -ENOMEM ? r : 0;
}

// The first row that is not before @ino.
static size_t lower_bound(const struct hashed *h, uint64_t ino)
{
	size_t low = 0, high = h->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (h->rows[middle].ino < ino)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

// Any thread may say so.
static void mark_seen(struct hashed *h, size_t row)
{
	__atomic_store_n(&h->seen[row], 1, __ATOMIC_RELAXED);
}

uint32_t hashed_find(struct hashed *h, uint64_t ino, uint64_t stamp)
{
	size_t row = lower_bound(h, ino);
	if (row == h->count || h->rows[row].ino != ino || h->rows[row].stamp != stamp)
		return 0;
	mark_seen(h, row);
	return (uint32_t)row + 1;
}

const struct index_file *hashed_row(const struct hashed *h, uint32_t row)
{
	return &h->rows[row - 1];
}

// Notes the first error. With the lock held, or when nobody else is there.
static void note(struct hashed *h, int r)
{
	if (h->error == 0 && r < 0)
		h->error = r;
}

// With the lock held.
static void put_batch(struct hashed *h)
{
	if (h->error == 0)
		note(h, index_put(h->index, h->batch, h->batched));
	h->batched = 0;
}

// With the lock held. Each row is true by itself, and none is removed before the end, so that a part of them
// is as good an index as any.
static void commit_sometimes(struct hashed *h)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC_COARSE);
	if (now - h->committed < COMMIT_INTERVAL)
		return;
	put_batch(h);
	if (h->error == 0)
		note(h, index_commit(h->index));
	h->committed = now;
}

void hashed_add(struct hashed *h, const struct index_file *f)
{
	if (!h->index)
		return;
	// The old row of the inode is replaced, and not to be thrown away with those nobody asked for.
	size_t row = lower_bound(h, f->ino);
	if (row < h->count && h->rows[row].ino == f->ino)
		mark_seen(h, row);
	auto_unlock pthread_mutex_t *held = mutex_hold(&h->lock);
	h->batch[h->batched++] = *f;
	if (h->batched == HASHED_BATCH)
		put_batch(h);
	commit_sometimes(h);
}

static void get_listing(struct hashed *h, const char *guest, uint8_t **ret, size_t *ret_size)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&h->lock);

	if (h->index)
		note(h, index_get_listing(h->index, guest, ret, ret_size));
}

void hashed_listings(struct hashed *h, const char *guest, uint64_t objects_sum, size_t limit, bool keep,
		     struct listings *ret)
{
	uint8_t *data = NULL;
	size_t size = 0;

	get_listing(h, guest, &data, &size);
	if (size > limit) {
		free(data);
		data = NULL;
		size = 0;
	}
	listings_init(ret, data, size, objects_sum, keep ? limit : 0);
}

void hashed_put_listings(struct hashed *h, const char *guest, struct listings *l)
{
	size_t size;
	const void *data = listings_result(l, &size);
	if (!data)
		return;
	auto_unlock pthread_mutex_t *held = mutex_hold(&h->lock);
	note(h, index_put_listing(h->index, guest, data, size));
}

void hashed_keep_guests(struct hashed *h, bool (*is_there)(const char *guest, void *arg), void *arg)
{
	if (h->index)
		note(h, index_keep_listings(h->index, is_there, arg));
}

static int remove_stale(struct hashed *h)
{
	size_t stale = 0;
	for (size_t i = 0; i < h->count; i++)
		stale += !h->seen[i];
	int r = 0;
	if (stale * 100 > h->count * STALE_PERCENT)
		for (size_t i = 0; i < h->count && r == 0; i++)
			if (!h->seen[i])
				r = index_remove(h->index, h->rows[i].ino);
	return r;
}

int hashed_save(struct hashed *h, bool whole, const struct index_pass *pass)
{
	if (!h->index)
		return 0;
	int r = whole ? remove_stale(h) : 0;
	put_batch(h);
	r = r < 0 ? r : h->error;
	if (r == 0)
		r = index_add_pass(h->index, pass);
	int err = index_close(h->index);
	h->index = NULL;
	r = r < 0 ? r : err;
	if (r == -EBADMSG)  // the next pass begins it anew
		index_drop(h->store);
	return r;
}

void hashed_free(struct hashed *h)
{
	forget_rows(h);
	close_index(h);
	mutex_destroy(&h->lock);
}
