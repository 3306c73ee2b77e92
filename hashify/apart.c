#include "hashify/apart.h"

#include "hashify/guests.h"
#include "hashify/known.h"
#include "hashify/rehash.h"
#include "hashify/report.h"
#include "hashify/walk.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/held.h"
#include "store/mark.h"
#include "store/object.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

// A file that a guest has not all names of.
struct holding {
	uint64_t ino;
	uint32_t guest;
};

struct holdings {
	struct holding *list;  // owned
	size_t count;
	uint32_t guest;  // whose are added
};

static int compare_holdings(const void *pa, const void *pb)
{
	const struct holding *a = pa, *b = pb;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return (a->guest > b->guest) - (a->guest < b->guest);
}

static void add_holding(void *value, void *arg)
{
	const struct hard_link *link = value;
	struct holdings *h = arg;
	h->list[h->count++] = (struct holding){ link->ino, h->guest };
}

static int list_holdings(const struct tree *trees, size_t count, struct holdings *h)
{
	size_t total = 0;
	for (size_t i = 0; i < count; i++)
		total += trees[i].hard_links.count;
	h->list = malloc((total + 1) * sizeof(*h->list));
	if (!h->list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		h->guest = trees[i].index;
		map_each(&trees[i].hard_links, add_holding, h);
	}
	qsort(h->list, total, sizeof(*h->list), compare_holdings);
	return 0;
}

// Those of several guests, as what guests_walk_links() looks for.
static int find_common(const struct holdings *h, struct known *ret)
{
	struct known_object *common = calloc(h->count + 1, sizeof(*common));
	size_t found = 0;
	if (!common)
		return -ENOMEM;
	for (size_t i = 1; i < h->count; i++)
		if (h->list[i].ino == h->list[i - 1].ino &&
		    (found == 0 || common[found - 1].ino != h->list[i].ino))
			common[found++].ino = h->list[i].ino;
	return known_of(common, found, ret);
}

struct marking {
	struct store *store;
	int pool;
	const struct known *common;
	bool *done;  // by file
	struct apart *result;
};

// What has as many names as there can be is no worse off without.
static int hold(struct store *s, int fd, const struct stat *st)
{
	int r = held_add(s, fd, st);
	if (r == -EXDEV)  // of another project; not what is_gone() takes it for
		return -EPERM;
	return r == -EMLINK ? 0 : r;
}

static int mark_file(struct store *s, int dir, const char *name, uint64_t ino)
{
	struct stat st;
	auto_close int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_ino != ino || st.st_dev != s->dev || !S_ISREG(st.st_mode))
		return -ESTALE;
	int r = mark_as_link(s->marks, fd, &st, (struct digest){ 0 });
	return r < 0 ? r : hold(s, fd, &st);
}

// The guest may have moved it, or put something else there.
static bool is_gone(int r)
{
	return r == -ENOENT || r == -ESTALE || r == -ENOTDIR || r == -ELOOP || r == -EXDEV;
}

static void on_name(const struct known_object *file, const struct report_place *place, void *arg)
{
	struct marking *m = arg;
	bool *done = &m->done[file - m->common->objects];
	if (*done)
		return;
	auto_close int dir = tree_open_dir(place->tree, m->pool, place->dir);
	int r = dir < 0 ? dir : mark_file(m->store, dir, place->name, file->ino);
	if (is_gone(r))
		return;
	*done = true;
	m->result->files += r == 0;
	m->result->errors += r < 0;
	if (r < 0)
		report_not_apart(place, r);
}

// In all guests, and where a pass shares nothing.
static int mark_all(struct marking *m)
{
	struct report silent;
	report_init_silent(&silent);
	struct tally tally = { 0 };
	const struct walk walk = {
		.known = m->common,
		.report = &silent,
		.dev = m->store->dev,
		.links_only = true,
		.on_link = on_name,
		.arg = m,
	};
	int64_t r = guests_walk_links(&walk, m->pool, &tally);
	report_destroy(&silent);
	return r < 0 ? (int)r : 0;
}

static int mark_common(int pool, struct store *s, const struct known *common, struct apart *ret)
{
	auto_free bool *done = calloc(common->count, sizeof(*done));
	if (!done)
		return -ENOMEM;
	return mark_all(&(struct marking){ s, pool, common, done, ret });
}

void apart_mark(int pool, struct store *s, const struct tree *trees, size_t count, struct apart *ret)
{
	struct holdings h = { 0 };
	struct known common = { 0 };
	*ret = (struct apart){ 0 };
	ret->error = list_holdings(trees, count, &h);
	if (ret->error == 0)
		ret->error = find_common(&h, &common);
	if (ret->error == 0 && common.count > 0 && s)
		ret->error = mark_common(pool, s, &common, ret);
	else
		ret->files = common.count;
	known_free(&common);
	free(h.list);
}

static int hash(struct store *s, int dir, const char *name, const struct stat *st, struct digest *ret)
{
	struct rehash *h;
	struct stat opened;
	auto_close int fd = beneath_open_file(dir, name);

	if (fd < 0 || fstat(fd, &opened) < 0)
		return fd < 0 ? fd : -errno;
	if (opened.st_ino != st->st_ino)
		return -ESTALE;
	int r = rehash_new(s, NULL, &h);
	if (r < 0)
		return r;
	r = rehash_content(h, fd, (uint64_t)st->st_size, ret);
	rehash_free(h);
	return r == REHASH_DIFFERS ? -EIO : r;
}

// 1: the file of @fd, an O_PATH fd, is an object; 0: it may be, by its mark and content. A mark alone proves
// nothing: where marks are in user. a guest may have made it.
static int check_mark(struct store *s, int dir, const char *name, int fd, const struct stat *st,
		      struct digest *ret)
{
	struct digest content = { 0 };

	int r = mark_read(s->marks, fd, st, ret);
	if (r == 0 && digest_equal(*ret, (struct digest){ 0 }))  // apart_mark()'s
		r = -ENODATA;
	if (r == 0)
		r = object_is_named(s, fd, st, *ret);
	if (r != 0)
		return r;
	r = hash(s, dir, name, st, &content);
	return r == 0 && !digest_equal(*ret, content) ? -EBADMSG : r;
}

static int restore_object(struct store *s, int dir, const char *name, int fd, const struct stat *st,
			  enum apart_restore restore)
{
	struct digest digest;

	int r = check_mark(s, dir, name, fd, st, &digest);
	return r == 0 && restore == RESTORE_OBJECTS ? object_restore(s, fd, st, digest) : r;
}

// What cannot be read counts as marked: no mount takes it for private.
static int look(struct store *s, int dir, const char *name, enum apart_restore restore)
{
	struct stat st;
	if (!s)
		return APART_OWN;
	auto_close int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink < 2)
		return APART_MARKED;
	if (mark_is_link(s->marks, fd, &st) == 0)
		return APART_OWN;
	if (restore == RESTORE_NOTHING)
		return APART_MARKED;
	if (restore_object(s, dir, name, fd, &st, restore) < 0)
		return APART_MARKED;
	if (restore == RESTORE_OBJECTS)
		held_remove(s, st.st_ino);
	return APART_LINK;
}

bool apart_is_marked(struct store *s, int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 1 &&
	       look(s, dir, name, RESTORE_NOTHING) != APART_OWN;
}

int apart_see(struct tree *tree, struct store *s, dev_t dev, int dir, const char *name,
	      const struct statx *st, enum apart_restore restore)
{
	bool is_elsewhere = makedev(st->stx_dev_major, st->stx_dev_minor) != dev ||
			    (st->stx_attributes & STATX_ATTR_MOUNT_ROOT);
	if (!S_ISREG(st->stx_mode) || st->stx_nlink < 2 || is_elsewhere)
		return APART_OWN;
	const struct hard_link *before = map_find(&tree->hard_links, st->stx_ino, NULL, NULL);
	int seen = !before || before->marked ? look(s, dir, name, restore) : APART_OWN;
	if (seen == APART_LINK ||
	    (seen == APART_MARKED && (restore == RESTORE_NOTHING || held_has(s, st->stx_ino))))
		return seen;
	int r = tree_see_hard_link(tree, st->stx_ino, st->stx_nlink, seen == APART_MARKED);
	return r < 0 ? r : seen;
}
