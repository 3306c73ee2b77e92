#include "hashify/listing.h"

#include "store/base/array.h"
#include "store/digest.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct listing {
	uint64_t ino, stamp;
	uint32_t size;   // of the entries
	uint32_t links;  // behind them: inode numbers
	uint8_t state;   // of enum state; 0 in the index
	uint8_t entries[];
} __attribute__((packed));

enum state { KEPT = 1, LEAF = 2 };

// An entry: the inode number, the type, the name with its NUL.
#define ENTRY_HEAD (sizeof(uint64_t) + 1)

// What all begins with.
struct head {
	uint64_t sum;  // of the rest: one wrong bit could hide a file for as long as its directory stays
	uint64_t objects_sum;
};

static uint64_t sum_of(const uint8_t *data, size_t size)
{
	return digest_hash64(0, data + sizeof(uint64_t), size - sizeof(uint64_t));
}

static uint64_t bytes_of(const struct listing *d)
{
	return sizeof(*d) + (uint64_t)d->size + (uint64_t)d->links * sizeof(uint64_t);
}

bool listing_next(const struct listing *d, size_t *at, struct listing_entry *ret)
{
	if (*at == d->size)
		return false;
	const uint8_t *p = d->entries + *at;
	memcpy(&ret->ino, p, sizeof(ret->ino));
	ret->type = p[sizeof(ret->ino)];
	ret->name = (const char *)p + ENTRY_HEAD;
	*at += ENTRY_HEAD + strlen(ret->name) + 1;
	return true;
}

uint32_t listing_links(const struct listing *d)
{
	return d->links;
}

uint64_t listing_link(const struct listing *d, uint32_t i)
{
	uint64_t ino;
	memcpy(&ino, d->entries + d->size + i * sizeof(ino), sizeof(ino));
	return ino;
}

// Reading

static bool is_name(const char *name)
{
	return *name != '\0' && strlen(name) <= NAME_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

// Needs such an entry its directory open?
static bool is_below(const struct listing_entry *e)
{
	return e->type == DT_DIR || e->type == DT_REG || e->type == DT_UNKNOWN;
}

// Do the entries end where they should, and is each one? Says so of a leaf.
static bool check_listing(struct listing *d)
{
	size_t at = 0;
	struct listing_entry e;

	d->state = LEAF;
	while (at < d->size) {
		const uint8_t *name = d->entries + at + ENTRY_HEAD;
		size_t left = d->size - at;
		if (left <= ENTRY_HEAD || !memchr(name, '\0', left - ENTRY_HEAD))
			return false;
		listing_next(d, &at, &e);
		if (!is_name(e.name))
			return false;
		if (is_below(&e))
			d->state = 0;
	}
	return true;
}

static bool is_sound(const struct listings *l, struct head *ret)
{
	if (l->old_size < sizeof(*ret))
		return false;
	memcpy(ret, l->old, sizeof(*ret));
	return ret->sum == sum_of(l->old, l->old_size);
}

static bool map_old(struct listings *l)
{
	struct head head;
	if (!is_sound(l, &head))
		return false;
	l->same_objects = head.objects_sum == l->objects_sum;
	for (size_t at = sizeof(head); at < l->old_size;) {
		struct listing *d = (struct listing *)(l->old + at);
		size_t left = l->old_size - at;
		if (left < sizeof(*d) || left < bytes_of(d) || d->state != 0 || !check_listing(d) ||
		    map_reserve(&l->by_ino) < 0)
			return false;
		map_add(&l->by_ino, d->ino, d);
		l->old_count++;
		at += bytes_of(d);
	}
	return true;
}

void listings_init(struct listings *l, void *old, size_t size, uint64_t objects_sum, size_t limit)
{
	*l = (struct listings){ .old = old, .old_size = size, .objects_sum = objects_sum, .limit = limit };
	if (size == 0 || map_old(l))
		return;
	listings_free(l);
	*l = (struct listings){ .was_broken = true, .objects_sum = objects_sum, .limit = limit };
}

void listings_free(struct listings *l)
{
	map_free(&l->by_ino);
	free(l->old);
	free(l->data);
	free(l->links);
	l->old = l->data = NULL;
	l->links = NULL;
}

static bool has_stamp(const void *value, const void *stamp)
{
	return ((const struct listing *)value)->stamp == *(const uint64_t *)stamp;
}

struct listing *listings_find(const struct listings *l, uint64_t ino, uint64_t stamp)
{
	return l->old_count > 0 ? map_find(&l->by_ino, ino, has_stamp, &stamp) : NULL;
}

static bool is_leaf(const void *value, const void *arg)
{
	(void)arg;
	return ((const struct listing *)value)->state & LEAF;
}

bool listings_has_leaf(const struct listings *l, uint64_t ino)
{
	return l->old_count > 0 && map_find(&l->by_ino, ino, is_leaf, NULL);
}

bool listing_is_leaf(const struct listing *d)
{
	return is_leaf(d, NULL);
}

// Writing

static void give_up(struct listings *l)
{
	free(l->data);
	l->data = NULL;
	l->size = l->capacity = l->limit = 0;
}

static bool make_room(struct listings *l, size_t size)
{
	if (l->capacity - l->size >= size)
		return true;
	if (size > l->limit - l->size)
		return false;
	size_t capacity = l->capacity ? l->capacity : 16 * 1024;
	while (capacity - l->size < size)
		capacity *= 2;
	if (capacity > l->limit)
		capacity = l->limit;
	uint8_t *data = realloc(l->data, capacity);
	if (!data)
		return false;
	l->data = data;
	l->capacity = capacity;
	return true;
}

static void append(struct listings *l, const void *bytes, size_t size)
{
	if (l->limit == 0)
		return;
	if (!make_room(l, size)) {
		give_up(l);
		return;
	}
	memcpy(l->data + l->size, bytes, size);
	l->size += size;
}

void listings_keep(struct listings *l, struct listing *d)
{
	l->kept += !(d->state & KEPT);  // or the guest shows it twice, having moved it meanwhile
	d->state |= KEPT;
}

static void leave_room_for_head(struct listings *l)
{
	static const struct head none;

	if (l->size == 0)
		append(l, &none, sizeof(none));
}

void listings_begin(struct listings *l, uint64_t ino, uint64_t stamp)
{
	const struct listing head = { .ino = ino, .stamp = stamp };

	leave_room_for_head(l);
	l->begun = l->size;
	l->is_writing = l->limit > 0;
	l->link_count = 0;
	append(l, &head, sizeof(head));
}

static void add_link(struct listings *l, uint64_t ino)
{
	bool fits = l->link_count < l->limit / sizeof(ino);
	uint64_t *links = fits ? array_grow(l->links, l->link_count, &l->link_capacity, sizeof(*links))
			       : NULL;
	if (!links) {
		give_up(l);
		return;
	}
	l->links = links;
	links[l->link_count++] = ino;
}

void listings_add(struct listings *l, const struct listing_entry *e)
{
	if (!l->is_writing)
		return;
	if (*e->name == '\0') {
		add_link(l, e->ino);
		return;
	}
	append(l, &e->ino, sizeof(e->ino));
	append(l, &e->type, sizeof(e->type));
	append(l, e->name, strlen(e->name) + 1);
}

void listings_end(struct listings *l, bool whole)
{
	if (!l->is_writing)
		return;
	l->is_writing = false;
	size_t size = l->size - l->begun - sizeof(struct listing);
	if (whole && l->link_count > 0)
		append(l, l->links, l->link_count * sizeof(*l->links));
	if (l->limit == 0)
		return;
	if (!whole) {
		l->size = l->begun;
		return;
	}
	struct listing *d = (struct listing *)(l->data + l->begun);
	d->size = (uint32_t)size;
	d->links = (uint32_t)l->link_count;
}

static void add_kept(struct listings *l)
{
	for (size_t at = sizeof(struct head); at < l->old_size;) {
		struct listing *d = (struct listing *)(l->old + at);
		size_t size = bytes_of(d);
		if (d->state & KEPT) {
			d->state = 0;
			append(l, d, size);
		}
		at += size;
	}
}

const void *listings_result(struct listings *l, size_t *ret_size)
{
	bool same = l->size <= sizeof(struct head) && l->kept == l->old_count && !l->was_broken;
	if (same && (l->same_objects || l->kept == 0))
		return NULL;
	leave_room_for_head(l);
	add_kept(l);
	if (l->limit == 0)
		return NULL;
	struct head *head = (struct head *)l->data;
	head->objects_sum = l->objects_sum;
	head->sum = sum_of(l->data, l->size);
	*ret_size = l->size;
	return l->data;
}
