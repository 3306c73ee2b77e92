#include "hashify/gc.h"

#include "hashify/report.h"
#include "hashify/stop.h"
#include "store/base/cleanup.h"
#include "store/base/map.h"
#include "store/displaced.h"
#include "store/held.h"
#include "store/marked.h"
#include "store/object.h"
#include "store/quarantine.h"
#include "store/registry.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

struct gc {
	struct store *store;
	bool dry_run;
	struct report *report;
	// Objects that displaced files in tmp/ will be compared with, by the digest's lower half; they own
	// their keys.
	struct map awaited;
	struct gc_result *result;
};

static bool is_same_key(const void *value, const void *arg)
{
	const struct object_key *a = value, *b = arg;
	return digest_equal(a->digest, b->digest) && a->size == b->size && a->identity == b->identity &&
	       a->variant == b->variant;
}

static bool is_awaited(const struct gc *gc, const struct object_key *key)
{
	return gc->awaited.count > 0 && map_find(&gc->awaited, key->digest.low, is_same_key, key);
}

static int await(const struct object_key *key, void *arg)
{
	struct gc *gc = arg;
	if (is_awaited(gc, key))
		return 0;
	int r = map_reserve(&gc->awaited);
	if (r < 0)
		return r;
	struct object_key *copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *key;
	map_add(&gc->awaited, key->digest.low, copy);
	return 0;
}

static void free_key(void *value, void *arg)
{
	(void)arg;
	free(value);
}

static void drop(const struct gc *gc, const char *path, struct stat st)
{
	int r = gc->dry_run ? OBJECT_REMOVED : object_remove_unused(gc->store, path, &st);
	if (r == -ENOENT)
		return;
	if (r == OBJECT_HAS_LINKS) {
		gc->result->kept++;
		return;
	}
	report_removed(gc->report, path, r);
	if (r < 0) {
		gc->result->errors++;
		return;
	}
	gc->result->removed++;
	gc->result->freed += (uint64_t)st.st_blocks * 512;
}

// Non-zero: asked to stop.
static int see(const struct gc *gc, const char *path, const struct stat *st, bool awaited)
{
	if (stop_asked())
		return 1;
	if (!S_ISREG(st->st_mode))
		gc->result->foreign++;
	else if (st->st_nlink > 1 || awaited)
		gc->result->kept++;
	else
		drop(gc, path, *st);
	return 0;
}

static int see_object(const struct object_key *key, const struct stat *st, void *arg)
{
	const struct gc *gc = arg;
	char path[OBJECT_PATH_SIZE];

	object_path_print(key, path);
	return see(gc, path, st, is_awaited(gc, key));
}

static int see_quarantined(const struct object_key *key, const struct stat *st, void *arg)
{
	const struct gc *gc = arg;
	char path[OBJECT_PATH_SIZE];

	gc->result->quarantined += S_ISREG(st->st_mode) && st->st_nlink > 1;
	quarantine_path_print(key, path);
	return see(gc, path, st, false);
}

static int see_held(const char *path, const struct stat *st, void *arg)
{
	const struct gc *gc = arg;
	char right[HELD_PATH_SIZE];
	struct stat now;

	if (gc->dry_run || !S_ISREG(st->st_mode))
		return see(gc, path, st, false);
	if (held_put_right(gc->store, path, st, right) < 0 ||
	    fstatat(gc->store->dir, right, &now, AT_SYMLINK_NOFOLLOW) < 0) {
		gc->result->errors++;
		return 0;
	}
	return see(gc, right, &now, false);
}

// The next mount need not look at what is left where objects were removed. If it must, that takes longer, no
// more.
static void note_marks(struct store *s, uint64_t *ret_renewed)
{
	auto_close int hold = registry_hold(s);
	if (hold >= 0)
		marked_renew_changed(s, ret_renewed);
}

int gc_run(struct store *s, bool dry_run, struct report *report, struct gc_result *ret)
{
	struct gc gc = { .store = s, .dry_run = dry_run, .report = report, .result = ret };
	*ret = (struct gc_result){ 0 };

	int r = displaced_each(s, await, &gc);
	if (r == 0)
		r = object_each(s, true, see_object, &gc, &ret->foreign);
	if (r == 0)
		r = quarantine_each(s, see_quarantined, &gc, &ret->foreign);
	if (r == 0)
		r = held_each(s, see_held, &gc, &ret->foreign);
	if (ret->removed > 0 && !dry_run)
		note_marks(s, &ret->renewed);
	ret->signal = stop_signal();
	map_each(&gc.awaited, free_key, NULL);
	map_free(&gc.awaited);
	return r < 0 ? r : 0;
}
