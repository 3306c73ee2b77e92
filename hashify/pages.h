// Which pages of a file were in the page cache before we read it, so that those that were not can be dropped
// from it again.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Of a part of a file.
struct pages {
	uint64_t at;           // a multiple of the page's size
	uint64_t size;         // 0: nothing is known, and nothing is dropped
	unsigned char *there;  // a byte a page: 1 or 0; NULL: none was there
};

// How many pages, at most, are in @size bytes that begin with one.
size_t pages_count(uint64_t size);

// Looks at @size bytes at @at. @there has room for the bytes of their pages, and stays the caller's. What is
// on its way from the disk is not there yet.
void pages_look(int fd, uint64_t at, uint64_t size, unsigned char *there, struct pages *ret);

// Looks at the whole of a file, for pages_free(). @ret is nothing if all is there, or if the file is huge.
void pages_look_whole(int fd, uint64_t size, struct pages *ret);

// Was any of it there, or is nothing known?
bool pages_were_there(const struct pages *p);

// Drops what was not there, but for what is dirty, mapped, or still on its way from the disk.
void pages_drop(int fd, const struct pages *p);

// Drops all of a file of @size bytes, which has been written back. False: some of it stays, for it is mapped,
// or somebody holds its pages in another way (mapping_evict_folio() in the kernel's mm/truncate.c); or it
// cannot be told.
bool pages_drop_all(int fd, uint64_t size);

void pages_free(struct pages *p);
