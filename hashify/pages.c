#include "hashify/pages.h"

#include "store/base/sys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

size_t pages_count(uint64_t size)
{
	return (size_t)((size + page_size() - 1) / page_size());
}

void pages_look(int fd, uint64_t at, uint64_t size, unsigned char *there, struct pages *ret)
{
	*ret = (struct pages){ at, size, there };
	if (size > 0 && sys_resident(fd, at, size, there) < 0)
		memset(there, 1, pages_count(size));  // we cannot tell: drop nothing
}

// A byte a page: of a file of 64 GiB. What a guest says is larger need take no space (holes, clones), and is
// not worth the memory.
#define MOST_PAGES ((size_t)16 * 1024 * 1024)

void pages_look_whole(int fd, uint64_t size, struct pages *ret)
{
	size_t count = pages_count(size);
	*ret = (struct pages){ 0 };
	unsigned char *there = count <= MOST_PAGES ? malloc(count + 1) : NULL;
	if (!there)
		return;
	pages_look(fd, 0, size, there, ret);
	if (!memchr(there, 0, count))
		pages_free(ret);
}

bool pages_were_there(const struct pages *p)
{
	return p->size == 0 || (p->there && memchr(p->there, 1, pages_count(p->size)));
}

static void drop(int fd, uint64_t at, uint64_t size)
{
	posix_fadvise(fd, (off_t)at, (off_t)size, POSIX_FADV_DONTNEED);
}

void pages_drop(int fd, const struct pages *p)
{
	size_t page = page_size(), count = pages_count(p->size);

	if (!p->there && p->size > 0)
		drop(fd, p->at, count * page);
	for (size_t i = 0, first; p->there && i < count; i++) {
		if (p->there[i])
			continue;
		for (first = i; i < count && !p->there[i];)
			i++;
		drop(fd, p->at + first * page, (i - first) * page);
	}
}

bool pages_drop_all(int fd, uint64_t size)
{
	drop(fd, 0, 0);
	return sys_cached_pages(fd, size) == 0;
}

void pages_free(struct pages *p)
{
	free(p->there);
	*p = (struct pages){ 0 };
}
