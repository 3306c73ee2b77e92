#include "hashify/unshare.h"

#include "hashify/apart.h"
#include "hashify/dircache.h"
#include "hashify/durable.h"
#include "hashify/guests.h"
#include "hashify/known.h"
#include "hashify/place.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/walk.h"
#include "store/base/array.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/claim.h"
#include "store/copy.h"
#include "store/displaced.h"
#include "store/exchange.h"
#include "store/held.h"
#include "store/mark.h"
#include "store/meta.h"
#include "store/object.h"
#include "store/put_back.h"
#include "store/quarantine.h"
#include "store/replace.h"
#include "store/tmp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define OPEN_DIRS 64

struct unshare {
	const struct place *at;
	const struct unshare_options *options;
	struct report *report;
	struct unshare_result *result;
	struct known known;       // objects
	struct known links;       // and all else that names at or beneath it are links to
	struct dircache *dirs;    // owned
	struct exchange_log log;  // owned; of tmp/
	uint64_t serial;          // in the names in tmp/
	int error;                // that ends it
};

// The copy lies in tmp/ under the name of a displaced file: whatever is there after a crash, the copy, the
// link or what the guest has put there meanwhile, recovery compares it with the object and drops it, or keeps
// it. What is a link by its mark alone has no object, and is kept.
static int link_copy(struct unshare *u, int copy, const struct object_key *key, char ret[TMP_NAME_SIZE])
{
	int r;
	do {
		displaced_name_print("", key, 0, u->serial++, ret);
		r = fd_link(copy, u->at->pool.store->tmp, ret);
	} while (r == -EEXIST);
	if (r < 0 || !u->options->sync)
		return r;
	r = copy_flush_named(u->at->pool.store, copy);
	if (r < 0)
		tmp_remove(u->at->pool.store, ret);
	return r;
}

// Copying may have taken long.
static bool is_still(int dir, const char *name, const struct known_object *object)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == object->ino;
}

// With a @claim what is displaced must be as it says still.
static int exchange_copy(struct unshare *u, int dir, const char *name, int copy, const struct claim *claim,
			 const struct known_object *object)
{
	struct store *s = u->at->pool.store;
	char tmp[TMP_NAME_SIZE];
	struct stat st, out;

	if (fstat(copy, &st) < 0)
		return -errno;
	int r = is_still(dir, name, object) ? link_copy(u, copy, &object->key, tmp) : -ESTALE;
	if (r < 0)
		return r;
	auto_close int link = openat(s->tmp, tmp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	r = link < 0 ? -errno : exchange(s, &u->log, tmp, dir, name);
	if (r == -EXDEV && meta_join_project(copy, dir) == 0)
		r = exchange(s, &u->log, tmp, dir, name);
	if (r < 0) {
		tmp_remove(s, tmp);
		return r;
	}
	if (fstatat(s->tmp, tmp, &out, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	// The guest has put another file there, or is writing to it: it belongs there.
	if (out.st_ino != object->ino || (claim && claim_holds(claim, true) != 1)) {
		r = put_back_or_keep(s, tmp, link, dir, name);
		u->result->kept += r == PLACE_TAKEN;
		return r < 0 ? r : -ESTALE;
	}
	u->result->bytes += (uint64_t)st.st_blocks * 512;
	return tmp_remove(s, tmp);
}

// The times of the directory stay as they are.
static int put_in_place(struct unshare *u, int dir, const char *name, int copy, const struct claim *claim,
			const struct known_object *object)
{
	struct stat st;
	if (fstat(dir, &st) < 0)
		return -errno;
	int r = exchange_copy(u, dir, name, copy, claim, object);
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, st.st_mtim };
	futimens(dir, times);
	return r;
}

static int give_copy(struct unshare *u, int dir, const char *name, int fd, const struct claim *claim,
		     const struct known_object *object)
{
	struct stat st;
	auto_close int copy = copy_private(u->at->pool.store, fd, UINT64_MAX, u->options->sync, &st);
	return copy < 0 ? copy : put_in_place(u, dir, name, copy, claim, object);
}

// No pass has made sure of a file that is marked and no object: somebody may write to it still, natively, or
// its number be another file's by now.
static int give_claimed_copy(struct unshare *u, int dir, const char *name, int fd,
			     const struct known_object *object)
{
	struct claim claim;
	int r = claim_take(fd, &claim);
	if (r < 0)
		return r == -EAGAIN ? -ETXTBSY : r;
	struct stat st = claim.st;
	st.st_nlink = 2;  // what the last name is marked with is asked for as well
	r = mark_is_link(u->at->pool.store->marks, fd, &st);
	if (r > 0)
		r = give_copy(u, dir, name, fd, &claim, object);
	else if (r == 0)
		r = -ESTALE;
	claim_drop(&claim);
	return r;
}

// -ESTALE: the name is no link to @object any more.
static int unshare_name(struct unshare *u, int dir, const char *name, const struct known_object *object)
{
	struct stat st;
	auto_close int fd = beneath_open_file(dir, name);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_ino != object->ino)
		return -ESTALE;
	if (u->options->dry_run) {
		u->result->bytes += (uint64_t)st.st_blocks * 512;
		return 0;
	}
	return known_ino(&u->known, object->ino) ? give_copy(u, dir, name, fd, NULL, object)
						 : give_claimed_copy(u, dir, name, fd, object);
}

static void count(struct unshare *u, const struct report_place *place, int r)
{
	if (r == 0) {
		u->result->links++;
		report_unshared(u->report, place);
	} else if (r == -ESTALE || r == -ENOENT) {
		u->result->changed++;
	} else if (r == -ENOSPC || r == -EDQUOT) {
		u->error = r;
	} else {
		u->result->errors++;
		report_not_unshared(place, r);
	}
}

static void on_link(const struct known_object *object, const struct report_place *place, void *arg)
{
	struct unshare *u = arg;
	if (u->error < 0 || stop_asked())
		return;
	const struct tree_file f = { .guest = place->tree->index, .dir = place->dir };
	int dir = dircache_open(u->dirs, &f);
	count(u, place, dir < 0 ? dir : unshare_name(u, dir, place->name, object));
}

static int unshare_tree(struct unshare *u, struct tree *tree)
{
	struct tally tally = { 0 };
	const struct walk walk = {
		.known = &u->links,
		.report = u->report,
		.dev = u->at->pool.store->dev,
		.links_only = true,
		.on_link = on_link,
		.arg = u,
	};
	int r = walk_guest(&walk, u->at->pool.dir, tree, &tally);
	u->result->errors += tally_errors(&tally);
	return r < 0 ? r : u->error;
}

// What is marked and no object that we know: one that has lost its name, that of a store of the guest's own,
// or a hard link of several guests.
struct marked {
	struct known_object *list;  // owned
	size_t count, capacity;
};

static int on_marked(const struct statx *st, void *arg)
{
	struct marked *m = arg;
	struct known_object *list = array_grow(m->list, m->count, &m->capacity, sizeof(*list));
	if (!list)
		return -ENOMEM;
	m->list = list;
	m->list[m->count++] = (struct known_object){ .key.size = st->stx_size, .ino = st->stx_ino };
	return 0;
}

static int find_marked(struct unshare *u, struct tree *tree, struct marked *m)
{
	struct tally tally = { 0 };
	struct report silent;
	const struct walk walk = {
		.known = &u->known,
		.report = &silent,
		.dev = u->at->pool.store->dev,
		.apart = true,
		.store = u->at->pool.store,
		.on_marked = on_marked,
		.arg = m,
	};
	report_init_silent(&silent);
	int r = walk_guest(&walk, u->at->pool.dir, tree, &tally);
	report_destroy(&silent);
	bool served = tree->served;
	tree_clear(tree);
	return r == 0 && served ? -EBUSY : r;
}

// Takes @m, and adds the objects to it.
static int know_links(struct unshare *u, struct marked *m)
{
	struct known_object *list = realloc(m->list, (m->count + u->known.count + 1) * sizeof(*list));
	if (!list) {
		free(m->list);
		return -ENOMEM;
	}
	if (u->known.count > 0)
		memcpy(list + m->count, u->known.objects, u->known.count * sizeof(*list));
	return known_of(list, m->count + u->known.count, &u->links);
}

static int find_links(struct unshare *u, struct tree *trees, size_t count)
{
	struct marked m = { 0 };
	int r = 0;
	for (size_t i = 0; i < count && r == 0 && !stop_asked(); i++)
		r = find_marked(u, &trees[i], &m);
	int known = know_links(u, &m);
	return r < 0 ? r : known;
}

static int unshare_trees(struct unshare *u, struct tree *trees, size_t count)
{
	int r = find_links(u, trees, count);
	if (r == 0)
		r = dircache_new(trees, u->at->pool.dir, OPEN_DIRS, &u->dirs);
	for (size_t i = 0; i < count && r == 0 && !stop_asked(); i++)
		r = unshare_tree(u, &trees[i]);
	dircache_free(u->dirs);
	for (size_t i = 0; i < count; i++)
		tree_free(&trees[i]);
	return r;
}

static int count_left(const struct object_key *key, const struct stat *st, void *arg)
{
	struct unshare *u = arg;
	(void)key;
	u->result->left += st->st_nlink > 1;
	return 0;
}

static int count_held(const char *path, const struct stat *st, void *arg)
{
	(void)path;
	return count_left(NULL, st, arg);
}

// Who has unshared all of a pool may want to remove its store.
static int find_left(struct unshare *u)
{
	uint64_t foreign = 0;
	struct statfs fs;
	if (u->options->dry_run || stop_asked())
		return 0;
	// There a link count is what it was before names were copied.
	if (fstatfs(u->at->pool.dir, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC)
		return 0;
	struct store *s = u->at->pool.store;
	int r = object_each(s, true, count_left, u, &foreign);
	if (r == 0)
		r = quarantine_each(s, count_left, u, &foreign);
	return r < 0 ? r : held_each(s, count_held, u, &foreign);
}

static int unshare_all(struct unshare *u)
{
	struct tree *trees;
	size_t count;
	int r = guests_list(u->at->pool.dir, NULL, &trees, &count);
	if (r < 0)
		return r;
	r = unshare_trees(u, trees, count);
	free(trees);
	return r < 0 ? r : find_left(u);
}

// A tree is walked from any directory on, as if that were a guest.
static int unshare_directory(struct unshare *u)
{
	struct tree tree;
	int r = tree_init(&tree, u->at->path, 0);
	return r < 0 ? r : unshare_trees(u, &tree, 1);
}

static int unshare_file(struct unshare *u, int dir, const char *name, const struct stat *st)
{
	const struct known_object marked = { .key.size = (uint64_t)st->st_size, .ino = st->st_ino };
	const struct known_object *object = known_ino(&u->known, st->st_ino);
	struct tree tree;
	if (st->st_dev != u->at->pool.store->dev)
		return 0;
	if (!object && apart_is_marked(u->at->pool.store, dir, name))
		object = &marked;
	if (!object)
		return 0;
	int r = tree_init(&tree, u->at->path, 0);
	if (r < 0)
		return r;
	*strrchr(tree.guest, '/') = '\0';
	if (tree_add_dir(&tree, 0, "") == 0)
		count(u, &(struct report_place){ &tree, 0, name }, unshare_name(u, dir, name, object));
	tree_free(&tree);
	return u->error;
}

static int unshare_at(struct unshare *u)
{
	const char *name;
	struct stat st;

	if (!*u->at->path)
		return unshare_all(u);
	if (!strchr(u->at->path, '/'))
		return unshare_directory(u);
	auto_close int dir = place_open_parent(u->at, &name);
	if (dir < 0)
		return dir;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? unshare_directory(u) : unshare_file(u, dir, name, &st);
}

// By fdatasync(2) of its copy a guest could not see to it that its name leads there (fs/sync.h).
static int flush_names(const struct unshare *u)
{
	if (u->result->links == 0 || u->options->dry_run || !u->options->sync)
		return 0;
	return durable_sync(u->at->pool.dir, u->at->pool.store->dir);
}

int unshare_run(const struct place *at, const struct unshare_options *o, struct report *report,
		struct unshare_result *ret)
{
	struct recovery recovery = { 0 };
	struct unshare u = {
		.at = at, .options = o, .report = report, .result = ret, .log = EXCHANGE_LOG_NONE
	};

	*ret = (struct unshare_result){ 0 };
	int r = o->dry_run ? 0 : replace_recover(at->pool.store, &recovery);
	ret->kept = recovery.kept + (*at->path ? 0 : recovery.kept_before);
	if (r == 0)
		r = exchange_log_open(at->pool.store, "", &u.log);
	if (r == 0)
		r = known_load_linked(at->pool.store, &u.known);
	if (r == 0)
		r = unshare_at(&u);
	int e = flush_names(&u);
	r = r == 0 ? e : r;
	known_free(&u.known);
	known_free(&u.links);
	exchange_log_close(&u.log);
	ret->signal = stop_signal();
	return r;
}
