#include "hashify/walk.h"

#include "hashify/judge.h"
#include "hashify/listing.h"
#include "hashify/nested.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/whatif.h"
#include "store/base/array.h"
#include "store/base/cleanup.h"
#include "store/base/clock.h"
#include "store/base/dir.h"
#include "store/base/fd.h"
#include "store/identity.h"
#include "store/pool.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BUFFER_SIZE ((size_t)64 * 1024)

// How many directories on the way down are kept open. Those above are opened again from below when the walk
// comes back.
#define OPEN_LEVELS 64

// The kernel goes all the way up for each link that it moves to another directory: a chain of directories
// would cost quadratic time.
#define DEEPEST 10240

// A directory between the guest's root and the one being read.
struct level {
	uint32_t dir;
	int fd;  // owned; -1: too far up
	dev_t dev;
	ino_t ino;
	size_t excludes, excludes_end;  // its state on the stack
	size_t pending;  // its subdirectories that are still to be entered lie above this index
};

struct walker {
	const struct walk *walk;
	int pool;
	struct tree *tree;
	struct tally *tally;
	struct level *levels;  // owned
	size_t depth, level_capacity;
	uint32_t *pending;  // owned
	size_t pending_count, pending_capacity;
	char *buffer;              // owned
	struct listings listings;  // owned
	size_t read;               // directories
	enum apart_restore restore;
	struct exclude *exclude;     // owned; NULL: nothing is excluded
	struct exclude_stack stack;  // owned
};

static void skip_file(struct walker *w, uint32_t dir, const char *name, enum reason reason, int err)
{
	report_skip(w->walk->report, w->tally, &(struct report_place){ w->tree, dir, name }, reason, err);
}

// A directory that is not entered counts as one name that is skipped.
static void skip_dir(struct walker *w, uint32_t dir, int err)
{
	w->tally->seen++;
	skip_file(w, dir, NULL, reason_of_reading(err), err);
}

static int add_pending(struct walker *w, uint32_t dir)
{
	uint32_t *list = array_grow(w->pending, w->pending_count, &w->pending_capacity, sizeof(*list));
	if (!list)
		return -ENOMEM;
	w->pending = list;
	w->pending[w->pending_count++] = dir;
	return 0;
}

static void count_link(struct walker *w, uint32_t dir, const char *name, const struct known_object *object)
{
	w->tally->already++;
	if (w->walk->on_link)
		w->walk->on_link(object, &(struct report_place){ w->tree, dir, name }, w->walk->arg);
}

static bool is_excluded(const struct walker *w, const struct level *l, const char *name, bool is_dir)
{
	return w->exclude && exclude_match(w->exclude, &w->stack, l->excludes, l->excludes_end, name, is_dir);
}

// The inode numbers of objects mean nothing elsewhere: another subvolume has its own.
static const struct known_object *object_of(const struct walker *w, const struct level *l,
					    const struct listing_entry *e)
{
	if (l->dev != w->walk->dev || (e->type != DT_REG && e->type != DT_UNKNOWN))
		return NULL;
	return known_ino(w->walk->known, e->ino);
}

// What is listed as a link must be one still, or its name is needed; what has become one needs no name any
// more.
static bool can_replay(const struct walker *w, const struct level *l, const struct listing *d)
{
	if (w->listings.same_objects)
		return true;
	for (uint32_t i = 0; i < listing_links(d); i++)
		if (!known_ino(w->walk->known, listing_link(d, i)))
			return false;
	struct listing_entry e;
	for (size_t at = 0; listing_next(d, &at, &e);)
		if (object_of(w, l, &e))
			return false;
	return true;
}

static struct timespec time_of(struct statx_timestamp t)
{
	return (struct timespec){ t.tv_sec, t.tv_nsec };
}

static uint64_t stamp_of(const struct walker *w, struct timespec mtime, struct timespec ctime)
{
	return index_stamp(w->walk->seed, 0, mtime, ctime);
}

// The directory @e as it was listed, if that holds still and it need not be opened to see what is in it.
static struct listing *find_leaf(const struct walker *w, const struct level *l, const struct listing_entry *e)
{
	struct statx st;

	if (l->dev != w->walk->dev || !listings_has_leaf(&w->listings, e->ino) ||
	    statx(l->fd, e->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) < 0)
		return NULL;
	bool tells_mounts = st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT;
	if (!tells_mounts || judge_is_mount(l->dev, &st) || !S_ISDIR(st.stx_mode))
		return NULL;
	uint64_t stamp = stamp_of(w, time_of(st.stx_mtime), time_of(st.stx_ctime));
	struct listing *d = listings_find(&w->listings, st.stx_ino, stamp);
	return d && listing_is_leaf(d) && can_replay(w, l, d) ? d : NULL;
}

static int replay(struct walker *w, const struct level *l, struct listing *d);

static int add_dir(struct walker *w, const struct level *l, const struct listing_entry *e)
{
	int64_t dir = tree_add_dir(w->tree, l->dir, e->name);
	if (dir == -ENAMETOOLONG) {
		w->tally->seen++;
		skip_file(w, l->dir, e->name, REASON_DEEP, 0);
		return 0;
	}
	if (dir < 0)
		return (int)dir;
	struct listing *leaf = find_leaf(w, l, e);
	if (!leaf)
		return add_pending(w, (uint32_t)dir);
	w->tally->directories++;
	return replay(w, &(struct level){ .dir = (uint32_t)dir, .fd = -1, .dev = l->dev }, leaf);
}

static int see_dir(struct walker *w, const struct level *l, const struct listing_entry *e)
{
	if (strcmp(e->name, STORE_DIR) == 0)
		w->tree->served = w->tree->served || !nested_hold(l->fd, &w->tree->stores);
	if (!is_excluded(w, l, e->name, true))
		return add_dir(w, l, e);
	w->tally->seen++;
	skip_file(w, l->dir, e->name, REASON_EXCLUDED, 0);
	return 0;
}

static struct stat stat_of(const struct statx *st)
{
	return (struct stat){
		.st_size = (off_t)st->stx_size,
		.st_mode = st->stx_mode,
		.st_uid = st->stx_uid,
		.st_gid = st->stx_gid,
		.st_mtim = time_of(st->stx_mtime),
	};
}

static uint32_t row_of(const struct walk *w, const struct statx *st)
{
	if (!w->hashed)
		return 0;
	uint64_t stamp = index_stamp(w->seed, st->stx_size, time_of(st->stx_mtime), time_of(st->stx_ctime));
	return hashed_find(w->hashed, st->stx_ino, stamp);
}

// What apart_see() does.
static int see_hard_link(struct walker *w, const struct level *l, const char *name, const struct statx *st,
			 bool damaged)
{
	const struct walk *walk = w->walk;
	if (!walk->apart)
		return APART_OWN;
	int seen = apart_see(w->tree, walk->store, walk->dev, l->fd, name, st,
			     damaged ? RESTORE_NOTHING : w->restore);
	if (seen == APART_LINK) {
		w->tally->already++;
		w->tally->restored++;
	}
	w->tally->marked += seen == APART_MARKED && !damaged;
	int r = seen != APART_OWN && walk->on_marked ? walk->on_marked(st, walk->arg) : 0;
	return r < 0 ? r : seen;
}

static int see_file(struct walker *w, const struct level *l, const char *name)
{
	struct statx st;
	int r = statx(l->fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st);
	if (r < 0) {
		int err = -errno;
		w->tally->seen++;
		skip_file(w, l->dir, name, reason_of_reading(err), err);
		return 0;
	}
	if (S_ISDIR(st.stx_mode))
		return see_dir(w, l, &(struct listing_entry){ st.stx_ino, DT_DIR, name });

	w->tally->seen++;
	bool damaged = w->walk->quarantined && known_ino(w->walk->quarantined, st.stx_ino);
	r = see_hard_link(w, l, name, &st, damaged);
	if (r != APART_OWN && r != APART_MARKED)
		return r < 0 ? r : 0;
	uint64_t min_size = w->walk->policy ? w->walk->policy->min_size : 0;
	enum reason reason = judge(w->walk->dev, min_size, l->dev, &st);
	if (damaged && st.stx_nlink > 1 &&
	    (reason == REASON_HARD_LINKED || reason == REASON_EMPTY || reason == REASON_SMALL))
		reason = REASON_DAMAGED;
	if (reason == REASON_NONE && w->walk->mounts && mounts_has(w->walk->mounts, st.stx_ino))
		reason = REASON_MOUNT;
	if (reason == REASON_NONE && w->depth > DEEPEST)
		reason = REASON_DEEP;
	if (reason == REASON_NONE && is_excluded(w, l, name, false))
		reason = REASON_EXCLUDED;
	if (reason != REASON_NONE) {
		skip_file(w, l->dir, name, reason, 0);
		return 0;
	}
	const struct stat known = stat_of(&st);
	const struct tree_file f = {
		.ino = st.stx_ino,
		.size = st.stx_size,
		.class = (uint32_t)identity_class(w->walk->seed, &known, w->walk->ignored),
		.traits = whatif_traits(&known),
		.dir = l->dir,
		.row = row_of(w->walk, &st),
	};
	bool now = w->walk->parts == 0 || f.class % w->walk->parts == w->walk->part;
	r = now ? tree_add_file(w->tree, &f, name) : -ENOBUFS;
	w->tally->later += r == -ENOBUFS;
	return r == -ENOBUFS ? 0 : r;
}

static int see(struct walker *w, const struct level *l, const struct listing_entry *e,
	       const struct known_object *object)
{
	if (e->type == DT_DIR)
		return see_dir(w, l, e);
	if (object) {
		w->tally->seen++;
		count_link(w, l->dir, e->name, object);
		return 0;
	}
	if (w->walk->links_only && e->type != DT_UNKNOWN) {
		w->tally->seen++;
		return 0;
	}
	if (e->type == DT_REG || e->type == DT_UNKNOWN)
		return see_file(w, l, e->name);

	w->tally->seen++;
	skip_file(w, l->dir, e->name, e->type == DT_LNK ? REASON_SYMLINK : REASON_SPECIAL, 0);
	return 0;
}

static int see_new(struct walker *w, const struct level *l, const struct dirent64 *d)
{
	struct listing_entry e = { d->d_ino, d->d_type, d->d_name };
	if (dir_is_dots(e.name))
		return 0;
	const struct known_object *object = object_of(w, l, &e);
	int r = see(w, l, &e, object);
	if (object)
		e.name = "";
	listings_add(&w->listings, &e);
	return r;
}

static int replay(struct walker *w, const struct level *l, struct listing *d)
{
	struct listing_entry e;
	int r = 0;
	w->tally->seen += listing_links(d);
	w->tally->already += listing_links(d);
	for (size_t at = 0; r == 0 && listing_next(d, &at, &e);)
		r = see(w, l, &e, NULL);
	listings_keep(&w->listings, d);
	return r;
}

// Returns 1 at the directory's end, 0 if it cannot be read to its end.
static int read_entries(struct walker *w, const struct level *l)
{
	for (;;) {
		ssize_t size = getdents64(l->fd, w->buffer, BUFFER_SIZE);
		if (size < 0)
			skip_dir(w, l->dir, -errno);
		if (size <= 0)
			return size == 0;
		for (ssize_t at = 0; at < size;) {
			const struct dirent64 *d = (const struct dirent64 *)(w->buffer + at);
			int r = see_new(w, l, d);
			if (r < 0)
				return r;
			at += d->d_reclen;
		}
	}
}

// Opens the directory @l, of which there is an O_PATH fd, for reading, without moving its atime where that is
// allowed.
static int open_to_read(struct level *l)
{
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int fd = openat(l->fd, ".", flags | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = openat(l->fd, ".", flags);
	if (fd < 0)
		return -errno;
	fd_close(l->fd);
	l->fd = fd;
	return 0;
}

// @st is the directory's from before it is read.
static int read_level(struct walker *w, const struct statx *st)
{
	struct level *l = &w->levels[w->depth - 1];
	// A snapshot may have two directories of one inode number; what is elsewhere becomes no link anyway.
	bool listed = l->dev == w->walk->dev;
	struct timespec ctime = time_of(st->stx_ctime);
	uint64_t stamp = stamp_of(w, time_of(st->stx_mtime), ctime);
	struct listing *same = listed ? listings_find(&w->listings, st->stx_ino, stamp) : NULL;
	if (same && can_replay(w, l, same))
		return replay(w, l, same);
	w->read++;

	int r = open_to_read(l);
	if (r < 0) {
		skip_dir(w, l->dir, r);
		return 0;
	}
	if (listed && clock_is_over(ctime))
		listings_begin(&w->listings, st->stx_ino, stamp);
	r = read_entries(w, l);
	listings_end(&w->listings, r > 0);
	return r < 0 ? r : 0;
}

static int push_excludes(struct walker *w, uint32_t dir)
{
	if (!w->exclude)
		return 0;
	if (w->depth == 0)
		return exclude_push_root(w->exclude, &w->stack);
	const struct level *up = &w->levels[w->depth - 1];
	return exclude_push(&w->stack, up->excludes, up->excludes_end, w->tree->dirs[dir].name);
}

// Enters directory @dir by @fd, which it takes.
static int enter(struct walker *w, uint32_t dir, int fd)
{
	auto_close int own = fd;
	struct statx st;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0) {
		skip_dir(w, dir, -errno);
		return 0;
	}
	w->tree->dirs[dir].is_frozen = judge_is_frozen(&st);
	size_t excludes = w->stack.count;
	int r = push_excludes(w, dir);
	if (r == -ENOBUFS) {
		w->stack.count = excludes;
		skip_dir(w, dir, r);
		return 0;
	}
	if (r < 0)
		return r;
	struct level *levels = array_grow(w->levels, w->depth, &w->level_capacity, sizeof(*levels));
	if (!levels)
		return -ENOMEM;
	w->levels = levels;
	if (w->depth >= OPEN_LEVELS) {
		struct level *far = &w->levels[w->depth - OPEN_LEVELS];
		if (far->fd >= 0)
			fd_close(far->fd);
		far->fd = -1;
	}
	w->levels[w->depth++] = (struct level){
		.dir = dir,
		.fd = take_fd(&own),
		.dev = makedev(st.stx_dev_major, st.stx_dev_minor),
		.ino = st.stx_ino,
		.excludes = excludes,
		.excludes_end = w->stack.count,
		.pending = w->pending_count,
	};
	w->tally->directories++;
	return read_level(w, &st);
}

static int open_dir(int parent, const char *name)
{
	return beneath_open(parent, name, O_PATH | O_DIRECTORY, 0);
}

static int is_level(const struct level *l, int fd)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_dev == l->dev && st.st_ino == l->ino ? 0 : -ESTALE;
}

// Opens the directory of @l again: from its child @below by "..", which costs the same at any depth, or,
// where that has been moved meanwhile, from the guest's root. Either way it must be the directory that was
// read: ".." of a directory that a guest moved may lead anywhere.
static int reopen(struct walker *w, const struct level *l, int below)
{
	auto_close int fd = openat(below, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && is_level(l, fd) == 0)
		return take_fd(&fd);

	auto_close int again = tree_open_dir(w->tree, w->pool, l->dir);
	if (again < 0)
		return again;
	int r = is_level(l, again);
	return r < 0 ? r : take_fd(&again);
}

// Goes up. Far up, directories are opened again level by level for as long as anything is still to be
// entered.
static void leave(struct walker *w)
{
	struct level *l = &w->levels[--w->depth];
	struct level *up = w->depth > 0 ? l - 1 : NULL;
	w->stack.count = l->excludes;
	if (up && up->fd < 0 && w->pending_count > 0) {
		int r = reopen(w, up, l->fd);
		if (r >= 0)
			up->fd = r;
		while (r < 0 && w->pending_count > up->pending)
			skip_dir(w, w->pending[--w->pending_count], r);
	}
	if (l->fd >= 0)
		fd_close(l->fd);
}

static int walk_on(struct walker *w)
{
	while (w->depth > 0 && !stop_asked()) {
		const struct level *l = &w->levels[w->depth - 1];
		if (w->pending_count == l->pending) {
			leave(w);
			continue;
		}
		uint32_t dir = w->pending[--w->pending_count];
		int fd = open_dir(l->fd, w->tree->dirs[dir].name);
		if (fd < 0) {
			skip_dir(w, dir, fd);
			continue;
		}
		int r = enter(w, dir, fd);
		if (r < 0)
			return r;
	}
	return 0;
}

// The guest may have asked for files to be left alone. If we cannot tell which, all of them are.
static int make_exclude(struct walker *w, int top, bool *ret_usable)
{
	int err, line;
	if (!w->walk->policy)
		return 0;
	int r = policy_exclude(w->walk->policy, top, &w->exclude, &err, &line);
	if (r < 0 || err == 0)
		return r;
	*ret_usable = false;
	w->tally->seen++;
	const struct report_place place = { w->tree, 0, exclude_root(w->exclude) };
	report_policy(w->walk->report, w->tally, &place, err, line);
	return 0;
}

static bool is_elsewhere(const struct walker *w, int root)
{
	struct stat st;
	return root < 0 ? root == -EXDEV : fstat(root, &st) == 0 && st.st_dev != w->walk->dev;
}

static int walk_from(struct walker *w)
{
	int64_t r = tree_add_dir(w->tree, 0, "");
	if (r < 0)
		return (int)r;
	int fd = open_dir(w->pool, w->tree->guest);
	w->tree->is_elsewhere = is_elsewhere(w, fd);
	if (fd < 0) {
		skip_dir(w, 0, fd);
		return 0;
	}
	// Links to a store of the guest's own are not ours.
	w->restore = pool_has_store(fd) ? RESTORE_NOTHING : w->walk->restore;
	bool usable = true;
	r = make_exclude(w, fd, &usable);
	if (r < 0 || !usable) {
		fd_close(fd);
		return (int)r;
	}
	r = enter(w, 0, fd);
	return r < 0 ? (int)r : walk_on(w);
}

int walk_guest(const struct walk *walk, int pool, struct tree *tree, struct tally *tally)
{
	auto_free char *buffer = malloc(BUFFER_SIZE);
	if (!buffer)
		return -ENOMEM;
	struct walker w = { .walk = walk, .pool = pool, .tree = tree, .tally = tally, .buffer = buffer };

	uint64_t seen = tally->seen;
	if (walk->hashed)
		hashed_listings(walk->hashed, tree->guest, walk->known->inode_sum, walk->listing_limit,
				walk->list, &w.listings);
	int r = walk_from(&w);
	if (walk->list && r == 0 && !stop_asked())
		hashed_put_listings(walk->hashed, tree->guest, &w.listings);
	listings_free(&w.listings);
	tree->directories_read = w.read;
	tree->seen = tally->seen - seen;
	for (size_t i = 0; i < w.depth; i++)
		if (w.levels[i].fd >= 0)
			fd_close(w.levels[i].fd);
	free(w.levels);
	free(w.pending);
	exclude_stack_free(&w.stack);
	exclude_free(w.exclude);
	return r;
}
