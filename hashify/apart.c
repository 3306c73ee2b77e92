#include "hashify/apart.h"

#include "hashify/known.h"
#include "hashify/report.h"
#include "hashify/walk.h"
#include "store/base/array.h"
#include "store/base/cleanup.h"
#include "store/mark.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

// An inode that a guest has under a name that is not its only one.
struct holding {
	uint64_t ino;
	uint32_t guest;
};

static int compare_holdings(const void *pa, const void *pb)
{
	const struct holding *a = pa, *b = pb;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return (a->guest > b->guest) - (a->guest < b->guest);
}

static struct holding *list_holdings(const struct tree *trees, size_t count, size_t *ret_count)
{
	size_t total = 0;
	for (size_t i = 0; i < count; i++)
		total += trees[i].hard_linked_count;
	struct holding *list = malloc((total + 1) * sizeof(*list));
	if (!list)
		return NULL;
	*ret_count = 0;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < trees[i].hard_linked_count; j++)
			list[(*ret_count)++] = (struct holding){ trees[i].hard_linked[j], trees[i].index };
	qsort(list, total, sizeof(*list), compare_holdings);
	return list;
}

// Those of several guests, as what walk_links() looks for.
static int find_common(const struct holding *list, size_t count, struct known *ret)
{
	struct known_object *common = NULL;
	size_t found = 0, capacity = 0;
	for (size_t i = 1; i < count; i++) {
		bool is_common = list[i].ino == list[i - 1].ino && list[i].guest != list[i - 1].guest;
		if (!is_common || (found > 0 && common[found - 1].ino == list[i].ino))
			continue;
		struct known_object *grown = array_grow(common, found, &capacity, sizeof(*grown));
		if (!grown) {
			free(common);
			return -ENOMEM;
		}
		common = grown;
		common[found++] = (struct known_object){ .ino = list[i].ino };
	}
	return known_of(common, found, ret);
}

struct marking {
	struct store *store;
	int pool;
	uint64_t count;
	int error;
};

static int mark_file(const struct store *s, int dir, const char *name, uint64_t ino)
{
	struct stat st;
	auto_close int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_ino != ino || st.st_dev != s->dev || !S_ISREG(st.st_mode))
		return -ENOENT;
	int r = mark_is_link(s->marks, fd, &st);
	if (r != 0)
		return r < 0 ? r : 0;
	r = mark_write(s->marks, fd, &st, (struct digest){ 0 });
	return r < 0 ? r : 1;
}

static void on_name(const struct known_object *file, const struct report_place *place, void *arg)
{
	struct marking *m = arg;
	auto_close int dir = tree_open_dir(place->tree, m->pool, place->dir);
	int r = dir < 0 ? dir : mark_file(m->store, dir, place->name, file->ino);
	if (r < 0 && r != -ENOENT && m->error == 0)  // -ENOENT: the guest has removed it
		m->error = r;
	m->count += r > 0;
}

static int mark_all(int pool, struct store *s, const struct known *common, uint64_t *ret)
{
	struct report silent;
	report_init(&silent, false, true);
	silent.silent = true;
	struct marking m = { .store = s, .pool = pool };
	struct tally tally = { 0 };
	const struct walk walk = {
		.known = common,
		.report = &silent,
		.dev = s->dev,
		.links_only = true,
		.on_link = on_name,
		.arg = &m,
	};
	int64_t r = walk_links(&walk, pool, &tally);
	report_destroy(&silent);
	*ret = m.count;
	return r < 0 ? (int)r : m.error;
}

int apart_mark(int pool, struct store *s, const struct tree *trees, size_t count, bool dry_run, uint64_t *ret)
{
	size_t listed;
	auto_free struct holding *list = list_holdings(trees, count, &listed);
	if (!list)
		return -ENOMEM;
	struct known common;
	int r = find_common(list, listed, &common);
	if (r < 0)
		return r;
	*ret = common.count;
	if (common.count > 0 && !dry_run)
		r = mark_all(pool, s, &common, ret);
	known_free(&common);
	return r;
}

int apart_is_unmarked(const struct store *s, int dir, const char *name)
{
	struct stat st;
	auto_close int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	int r = mark_is_link(s->marks, fd, &st);
	return r < 0 ? r : r == 0 && S_ISREG(st.st_mode) && st.st_nlink > 1;
}
