#include "hashify/verify.h"

#include "hashify/progress.h"
#include "hashify/rehash.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/throttle.h"
#include "store/base/array.h"
#include "store/base/cleanup.h"
#include "store/base/clock.h"
#include "store/object.h"
#include "store/quarantine.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct candidate {
	struct object_key key;
	uint64_t ino;
	int64_t since;     // when it was last known to be sound, or touched; nanoseconds
	int64_t verified;  // by this run; 0: not yet
};

struct verify {
	struct store *store;
	const struct verify_options *options;
	struct report *report;
	struct rehash *rehash;         // owned
	struct candidate *candidates;  // owned; in the order of checking
	size_t count, capacity;
	struct verify_result *result;
};

// When its inode was touched last: it became an object, or got or lost a link. What cannot even be asked
// comes first.
static int64_t changed_at(const struct store *s, const struct object_key *key)
{
	char path[OBJECT_PATH_SIZE];
	struct stat st;

	object_path_print(key, path);
	if (fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
}

static int add_candidate(const struct object_key *key, const struct stat *st, void *arg)
{
	struct verify *v = arg;

	if (stop_asked())
		return 1;
	struct candidate *list = array_grow(v->candidates, v->count, &v->capacity, sizeof(*list));
	if (!list)
		return -ENOMEM;
	v->candidates = list;
	v->candidates[v->count++] = (struct candidate){
		.key = *key,
		.ino = st->st_ino,
		.since = changed_at(v->store, key),
	};
	return 0;
}

static int compare_inodes(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int compare_ages(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	if (x->since != y->since)
		return x->since < y->since ? -1 : 1;
	return compare_inodes(a, b);
}

struct recalling {
	struct verify *verify;
	int64_t now;
};

// What is said to have been verified in the future was so while the clock was wrong.
static int recall(const struct index_verified *known, void *arg)
{
	const struct recalling *r = arg;
	const struct candidate wanted = { .ino = known->ino };
	struct candidate *c = bsearch(&wanted, r->verify->candidates, r->verify->count, sizeof(*c),
				      compare_inodes);
	if (c && known->at > c->since && known->at <= r->now)
		c->since = known->at;
	return 0;
}

// An index that cannot be read costs the order alone. The candidates are sorted by inode.
static void recall_all(struct verify *v)
{
	struct recalling recalling = { v, clock_ns(CLOCK_REALTIME) };
	enum index_state state;
	struct index *x;
	int r = index_open(v->store, INDEX_ANY, false, &x, &state);
	if (r == 0 && x)
		r = index_each_verified(x, recall, &recalling);
	if (r != -EBADMSG)  // which is to be made anew
		v->result->index_error = r;
	index_close(x);
}

static int list_objects(struct verify *v)
{
	int r = object_each(v->store, false, add_candidate, v, &v->result->foreign);
	if (r < 0 || v->count == 0)
		return r < 0 ? r : 0;
	qsort(v->candidates, v->count, sizeof(*v->candidates), compare_inodes);
	recall_all(v);
	qsort(v->candidates, v->count, sizeof(*v->candidates), compare_ages);
	return 0;
}

// If all were checked (@whole), what else is known is of objects that are gone.
static int put_verified(struct index *x, const struct verify *v, bool whole)
{
	int r = whole ? index_forget_verified(x) : 0;
	for (size_t i = 0; r == 0 && i < v->count; i++) {
		const struct candidate *c = &v->candidates[i];
		if (c->verified > 0)
			r = index_put_verified(x, &(struct index_verified){ c->ino, c->verified });
	}
	return r;
}

static int save(const struct verify *v, bool whole)
{
	struct index *x;
	if (v->options->dry_run || v->count == 0)
		return 0;
	int r = index_open(v->store, INDEX_ANY, true, &x, &v->result->index);
	if (r < 0)
		return r;
	r = put_verified(x, v, whole);
	int err = index_close(x);
	r = r < 0 ? r : err;
	if (r != -EBADMSG)
		return r;
	v->result->index = INDEX_CORRUPT;
	index_drop(v->store);  // the next pass begins it anew
	return 0;
}

// What earlier runs have found, as long as a guest has it.
static int add_quarantined(const struct object_key *key, const struct stat *st, void *arg)
{
	struct verify *v = arg;
	const struct finding f = { .key = *key, .ino = st->st_ino, .quarantined = true };
	return S_ISREG(st->st_mode) && st->st_nlink > 1 ? findings_add(&v->result->findings, &f) : 0;
}

static int take_damaged(struct verify *v, const struct candidate *c, unsigned damage)
{
	struct finding f = { .key = c->key, .ino = c->ino, .damage = damage };
	int r = v->options->dry_run ? 0 : quarantine_add(v->store, &f.key);

	f.quarantined = r == 0 && !v->options->dry_run;
	report_damaged(v->report, &c->key, damage, r);
	v->result->damaged++;
	v->result->errors += r < 0;
	return findings_add(&v->result->findings, &f);
}

// -ENOMEM.
static int verify_one(struct verify *v, struct candidate *c)
{
	unsigned damage;

	int r = rehash_object(v->rehash, &c->key, &damage, &v->result->read);
	if (r == -EINTR || r == -ENOENT)  // stopped, or removed meanwhile
		return 0;
	v->result->objects += r == 0;
	if (r == 0 && damage == 0)
		c->verified = clock_ns(CLOCK_REALTIME);
	if (r == 0)
		return damage ? take_damaged(v, c, damage) : 0;
	report_unchecked(&c->key, r);
	v->result->errors++;
	return 0;
}

static void announce_total(const struct verify *v)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < v->count; i++)
		bytes += v->candidates[i].key.size;
	progress_phase(v->options->progress, PROGRESS_VERIFY);
	progress_total(v->options->progress, v->count, bytes);
}

static int verify_objects(struct verify *v)
{
	int r = list_objects(v);
	size_t i = 0;
	announce_total(v);
	for (; r == 0 && i < v->count && !stop_asked(); i++) {
		r = verify_one(v, &v->candidates[i]);
		progress_add(v->options->progress, 0, 1, v->candidates[i].key.size, 0);
	}
	int err = save(v, i == v->count && !stop_asked());
	if (v->result->index_error == 0)
		v->result->index_error = err;
	return r;
}

int verify_run(int pool, struct store *s, const struct verify_options *o, struct report *report,
	       struct verify_result *ret)
{
	struct verify v = { .store = s, .options = o, .report = report, .result = ret };
	*ret = (struct verify_result){ 0 };

	struct throttle *throttle = NULL;
	int r = throttle_new(&(struct throttle_options){ .limit = o->io_limit }, &throttle);
	if (r == 0)
		r = rehash_new(s, throttle, &v.rehash);
	if (r == 0)
		r = quarantine_each(s, add_quarantined, &v, &ret->foreign);
	if (r == 0)
		r = verify_objects(&v);
	free(v.candidates);
	rehash_free(v.rehash);
	throttle_free(throttle);
	// Even after an error or a stop: what was found must be told.
	ret->signal = stop_signal();
	stop_forget();
	progress_phase(o->progress, PROGRESS_NAMES);
	int names = ret->findings.count == 0
			    ? 0
			    : findings_find_names(&ret->findings, pool, s->dev, report, &ret->errors);
	ret->no_names = stop_asked();
	return r < 0 ? r : names;
}
