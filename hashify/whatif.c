#include "hashify/whatif.h"

#include "store/base/cleanup.h"
#include "store/digest.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// A hash of each is enough: the mtime's in the lower half, then the owner's and the mode's in a byte each.
#define MTIME UINT32_C(0x0000ffff)
#define OWNER UINT32_C(0x00ff0000)
#define MODE UINT32_C(0xff000000)

static uint32_t hash(const void *data, size_t size, unsigned shift, uint32_t mask)
{
	return (uint32_t)digest_hash64(0, data, size) << shift & mask;
}

uint32_t whatif_traits(const struct stat *st)
{
	const int64_t mtime[] = { st->st_mtim.tv_sec, st->st_mtim.tv_nsec };
	const uint32_t owner[] = { st->st_uid, st->st_gid }, mode = st->st_mode;
	return hash(mtime, sizeof(mtime), 0, MTIME) | hash(owner, sizeof(owner), 16, OWNER) |
	       hash(&mode, sizeof(mode), 24, MODE);
}

static int compare(const void *pa, const void *pb)
{
	const struct tree_file *a = *(const struct tree_file *const *)pa,
			       *b = *(const struct tree_file *const *)pb;
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	return strcmp(a->name, b->name);
}

static bool is_same_file(const struct tree_file *a, const struct tree_file *b)
{
	return a->size == b->size && strcmp(a->name, b->name) == 0;
}

static uint64_t blocks(const struct tree_file *f)
{
	return (f->size + 4095) / 4096 * 4096;
}

// Hundreds of kinds of files of one size and name are no evidence of anything.
#define KINDS_MAX 64

// How many of these kinds of files would be one with another if @ignored were?
static uint64_t merged(const uint32_t *kinds, size_t count, uint32_t ignored)
{
	uint64_t away = 0;
	for (size_t i = 1; i < count; i++) {
		bool found = false;
		for (size_t k = 0; k < i && !found; k++)
			found = ((kinds[i] ^ kinds[k]) & ~ignored) == 0;
		away += found;
	}
	return away;
}

static void add_kind(uint32_t *kinds, size_t *count, uint32_t traits)
{
	for (size_t i = 0; i < *count; i++)
		if (kinds[i] == traits)
			return;
	if (*count < KINDS_MAX)
		kinds[(*count)++] = traits;
}

// Files of one size and name. Those with the same traits share with each other as it is.
static void add_group(const struct tree_file *const *files, size_t count, struct whatif *w)
{
	uint32_t kinds[KINDS_MAX];
	size_t found = 0;
	for (size_t i = 0; i < count; i++)
		add_kind(kinds, &found, files[i]->traits);
	w->mtime += merged(kinds, found, MTIME) * blocks(files[0]);
	w->owner += merged(kinds, found, OWNER) * blocks(files[0]);
	w->mode += merged(kinds, found, MODE) * blocks(files[0]);
}

// Most classes are the files of one name: one of each will do.
static size_t pick(const struct classes *c, const struct tree_file **ret)
{
	const struct tree_file *first = NULL;
	size_t count = 0;
	for (size_t i = 0; i < c->file_count; i++) {
		const struct tree_file *f = c->files[i];
		bool same = first && tree_same_class(f, first);
		if (same && strcmp(f->name, first->name) == 0)
			continue;
		if (!same)
			first = f;
		ret[count++] = f;
	}
	return count;
}

int whatif_add(const struct classes *c, struct whatif *ret)
{
	auto_free const struct tree_file **files = calloc(c->file_count + 1, sizeof(struct tree_file *));
	if (!files)
		return -ENOMEM;
	size_t count = pick(c, files);
	qsort(files, count, sizeof(struct tree_file *), compare);
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count && is_same_file(files[i], files[end]);)
			end++;
		add_group(&files[i], end - i, ret);
	}
	return 0;
}
