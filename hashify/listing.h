// What the directories of a guest held when they were read last: one whose inode, mtime and ctime are as they
// were then holds the same names, and is not read again. The index keeps it (hashed.h), so its bytes are
// checked before they are used. A link has no name here: that its inode is an object's is all there is to
// know.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/base/map.h"

// One directory.
struct listing;

struct listing_entry {
	uint64_t ino;
	uint8_t type;      // DT_…
	const char *name;  // "" of a link, to be added
};

// Those of a guest: of the last pass, to be asked, and of this one, to be kept. One thread uses it.
struct listings {
	uint8_t *old;  // owned
	size_t old_size;
	size_t old_count;   // directories
	struct map by_ino;  // of struct listing in @old
	size_t kept;        // of them
	bool was_broken;
	uint64_t objects_sum;  // of the set of objects' inodes now
	bool same_objects;     // as when the old ones were kept: their links are links still

	uint8_t *data;  // owned: the new ones
	size_t size, capacity;
	size_t begun;     // where the one that is being written begins
	bool is_writing;  // there is one
	uint64_t *links;  // owned: of that one
	size_t link_count, link_capacity;
	size_t limit;  // of @capacity; 0: nothing is kept
};

// @old, of @size bytes, is what listings_result() gave once; it is taken. Other bytes are as good as none.
// @objects_sum tells the set of objects' inodes from others (known.h). No more than @limit bytes are kept for
// the next pass, else none.
void listings_init(struct listings *l, void *old, size_t size, uint64_t objects_sum, size_t limit);
void listings_free(struct listings *l);

// The directory @ino as it was with that stamp; NULL: it is not known, or not so.
struct listing *listings_find(const struct listings *l, uint64_t ino, uint64_t stamp);

// Is there a leaf of that inode number, whatever its stamp? A leaf holds nothing but links, symbolic links
// and the like: it need not be open for them to be seen.
bool listings_has_leaf(const struct listings *l, uint64_t ino);
bool listing_is_leaf(const struct listing *d);

// The entry at *@at, which begins with 0 and moves on; links are none. False: there are no more.
bool listing_next(const struct listing *d, size_t *at, struct listing_entry *ret);

// How many links there are, and the inode of one.
uint32_t listing_links(const struct listing *d);
uint64_t listing_link(const struct listing *d, uint32_t i);

// Keeps @d for the next pass.
void listings_keep(struct listings *l, struct listing *d);

// Or keeps what is read now: between these two, all entries. One that was not read to its end is dropped.
void listings_begin(struct listings *l, uint64_t ino, uint64_t stamp);
void listings_add(struct listings *l, const struct listing_entry *e);
void listings_end(struct listings *l, bool whole);

// At the end: what is to be kept, *@ret_size bytes that stay @l's. NULL: nothing has changed, or it is too
// much.
const void *listings_result(struct listings *l, size_t *ret_size);
