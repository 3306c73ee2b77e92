#include "hashify/pass.h"

#include "hashify/adopt.h"
#include "hashify/apart.h"
#include "hashify/filter.h"
#include "hashify/guests.h"
#include "hashify/known.h"
#include "hashify/mounts.h"
#include "hashify/openpool.h"
#include "hashify/progress.h"
#include "hashify/report.h"
#include "hashify/shards.h"
#include "hashify/stop.h"
#include "hashify/walk.h"
#include "hashify/worker.h"
#include "store/base/cleanup.h"
#include "store/marked.h"
#include "store/store.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// More threads than CPUs, because some wait for the disk and for each other's directories; beyond the second
// number the store's own directories are the limit.
#define DEFAULT_MIN_THREADS 4
#define DEFAULT_MAX_THREADS 16

// Who walks a guest that is not in memory waits for one block after another.
#define DEFAULT_WALKERS 16

// Fds that a worker needs besides its open directories and displaced files.
#define FDS_PER_WORKER (GROUPS_OPEN_TARGETS + WORKER_WINDOW + 16)
#define MAX_OPEN_DIRS 256
#define MAX_WAITING 256

#define LEAST_MEMORY (UINT64_C(64) * 1024 * 1024)
#define LEAST_PART (UINT64_C(64) * 1024)

// A walker holds a guest's old listings, a map of them, and the new ones with what they grow by.
#define LISTING_SHARE 8
#define LISTING_USUAL 16  // bytes a name

struct pass {
	int pool, mounted;
	unsigned threads, walkers;
	struct report *report;
	struct known known, quarantined;
	struct mounts mounts;
	struct hashed hashed;
	struct tree_budget budget;
	size_t objects_limit;  // bytes of their listings
	struct whatif whatif;
	bool has_whatif;
	struct tree *trees;
	size_t tree_count, guests_elsewhere;
	struct walk walk;
	struct classes classes;
	struct adopt adopt;
	struct work work;
	bool *outdated;  // by guest (list_all())
	bool objects_outdated;
	struct apart apart;

	pthread_mutex_t lock;  // guards all below
	size_t next;           // the next guest to walk
	struct tally tally;
	int error;  // the first that ends the pass
};

static size_t at_most(size_t wanted, size_t limit)
{
	return wanted < limit ? wanted : limit;
}

// A worker has ended: its share of the result.
static void pass_join(struct pass *p, const struct tally *tally, int error)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&p->lock);
	tally_add(&p->tally, tally);
	if (p->error == 0)
		p->error = error;
}

// The next guest to walk; NULL: none is left.
static struct tree *next_tree(struct pass *p)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&p->lock);
	if (stop_asked() || p->error < 0 || p->next == p->tree_count)
		return NULL;
	return &p->trees[p->next++];
}

static int run_threads(struct pass *p, unsigned count, const char *name, void *(*run)(void *))
{
	pthread_t threads[PASS_MAX_THREADS];
	unsigned started = 0;
	int r = 0;

	p->next = 0;
	while (started < count && r == 0) {
		r = thread_start(&threads[started], name, run, p);
		started += r == 0;
	}
	for (unsigned i = 0; i < started; i++)
		thread_join(threads[i]);
	if (started > 0)  // fewer threads do the same work
		r = p->error;
	return r;
}

struct leaving {
	struct report *report;
	const struct tree *tree;
	struct tally *tally;
};

static void leave_file(struct tree_file *f, void *arg)
{
	const struct leaving *l = arg;
	const struct report_place place = { l->tree, f->dir, f->name };
	report_skip(l->report, l->tally, &place, REASON_SERVED, -EBUSY);
}

// A guest in which another store is served. @later is what there was for later before it was walked.
static void leave_guest(const struct pass *p, struct tree *t, struct tally *tally, uint64_t later)
{
	tally->skipped[REASON_SERVED] += tally->later - later;
	tally->later = later;
	tree_each_file(t, leave_file, &(struct leaving){ p->walk.report, t, tally });
	tree_clear(t);
}

static void *walk_thread(void *arg)
{
	struct pass *p = arg;
	struct tally tally = { 0 };
	int r = 0;
	for (struct tree *t; r == 0 && (t = next_tree(p));) {
		uint64_t seen = tally.seen, later = tally.later;
		progress_guest(p->work.progress, t->index, t->guest);
		r = walk_guest(&p->walk, p->pool, t, &tally);
		if (t->served)
			leave_guest(p, t, &tally, later);
		progress_guest(p->work.progress, t->index, NULL);
		progress_seen(p->work.progress, t->index, tally.seen - seen);
	}
	pass_join(p, &tally, r);
	return NULL;
}

static void free_trees(struct pass *p)
{
	filter_free(&p->classes);
	for (size_t i = 0; i < p->tree_count; i++)
		tree_free(&p->trees[i]);
	free(p->trees);
	p->trees = NULL;
	p->tree_count = 0;
}

// Each call makes the trees anew.
static int walk_all(struct pass *p)
{
	progress_phase(p->work.progress, PROGRESS_WALK);
	free_trees(p);
	int r = guests_list(p->pool, p->walk.policy, &p->trees, &p->tree_count);
	if (r < 0)
		return r;
	p->budget.files = p->budget.dirs = 0;
	for (size_t i = 0; i < p->tree_count; i++)
		p->trees[i].budget = &p->budget;
	return run_threads(p, (unsigned)at_most(p->tree_count, p->walkers), "walk", walk_thread);
}

static void *read_thread(void *arg)
{
	struct pass *p = arg;
	struct tally tally = { 0 };
	int r = worker_run(&p->work, &tally);
	pass_join(p, &tally, r);
	return NULL;
}

static void skip_as_stopped(struct pass *p, const struct class *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct tree_file *f = c->files[i];
		const struct report_place place = { &p->trees[f->guest], f->dir, f->name };
		report_skip(p->report, &p->tally, &place, REASON_STOPPED, 0);
	}
}

static size_t count_to_read(const struct adopt *a, const struct class *c)
{
	size_t count = 0;
	for (size_t i = 0; i < c->count; i++)
		count += worker_has_to_read(a, c, c->files[i]);
	return count;
}

static void announce_total(const struct pass *p)
{
	uint64_t files = 0, bytes = 0;
	for (size_t i = 0; i < p->classes.count; i++) {
		const struct class *c = &p->classes.list[i];
		size_t count = count_to_read(&p->adopt, c);
		files += count;
		bytes += count * c->files[0]->size;
	}
	progress_total(p->work.progress, files, bytes);
}

static int read_all(struct pass *p)
{
	progress_phase(p->work.progress, PROGRESS_READ);
	p->adopt.trees = p->trees;
	p->work.next = 0;
	p->work.workers = 0;
	int r = filter_classes(p->trees, p->tree_count, &p->known, p->report, &p->tally, &p->classes);
	if (r < 0)
		return r;
	announce_total(p);
	r = run_threads(p, p->threads, "read", read_thread);
	while (p->work.next < p->classes.count)
		skip_as_stopped(p, &p->classes.list[p->work.next++]);
	return r;
}

static unsigned thread_count(unsigned wanted)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (wanted > 0)
		return wanted;
	if (cpus * 2 < DEFAULT_MIN_THREADS)
		return DEFAULT_MIN_THREADS;
	return cpus * 2 > DEFAULT_MAX_THREADS ? DEFAULT_MAX_THREADS : (unsigned)cpus * 2;
}

static uint64_t usual_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t memory = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size / 8 : 0;
	return memory > LEAST_MEMORY ? memory : LEAST_MEMORY;
}

// How many directories and displaced files, with the link to each, a worker may keep open within the limit on
// fds, of which others need some.
static void share_fds(struct pass *p)
{
	struct rlimit limit;
	size_t per_worker = FDS_PER_WORKER;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		per_worker = limit.rlim_cur / 2 / p->threads;
	}
	size_t left = per_worker > FDS_PER_WORKER ? per_worker - FDS_PER_WORKER : 0;
	p->work.open_dirs = at_most(left / 2, MAX_OPEN_DIRS);
	p->adopt.waiting = 1 + (unsigned)at_most(left / 4, MAX_WAITING);
}

// The first walk has counted what there is and said what is wrong: this one collects files alone.
static int walk_again(struct pass *p, unsigned part)
{
	const struct tally counted = p->tally;
	struct report silent;
	report_init_silent(&silent);
	p->walk.part = part;
	p->walk.report = &silent;
	p->budget.limit = UINT64_MAX;  // parts are about equal
	int r = walk_all(p);
	p->walk.report = p->report;
	p->tally = counted;
	report_destroy(&silent);
	return r;
}

static size_t files_in(const struct pass *p)
{
	size_t count = 0;
	for (size_t i = 0; i < p->tree_count; i++)
		count += p->trees[i].file_count;
	return count;
}

// Files that were left for later were counted as seen and are now accounted for, but for those that came or
// went meanwhile.
static void settle_later(struct pass *p, size_t found)
{
	struct tally *t = &p->tally;
	if (found > t->later)
		t->seen += found - t->later;
	else if (stop_asked())
		t->skipped[REASON_STOPPED] += t->later - found;
	else
		t->skipped[REASON_CHANGED] += t->later - found;
	t->later = 0;
}

static void keep_apart(struct pass *p)
{
	apart_mark(p->pool, p->adopt.dry_run ? NULL : p->adopt.store, p->trees, p->tree_count, &p->apart);
	for (size_t i = 0; i < p->tree_count; i++)
		tree_forget_hard_links(&p->trees[i]);
	p->walk.apart = false;
}

static unsigned part_count(const struct pass *p)
{
	uint64_t room = tree_budget_for_files(&p->budget);
	return 1 + (unsigned)(p->budget.files / (room > LEAST_PART ? room : LEAST_PART));
}

// Walks for the first part of the files: all, if their names fit into the memory. If not, the pool is walked
// once more for each part. Files of one class are in one part, so they meet each other.
static int walk_first(struct pass *p)
{
	int r = walk_all(p);
	if (r == 0)
		keep_apart(p);
	if (r < 0 || p->budget.files <= tree_budget_for_files(&p->budget) || stop_asked())
		return r;
	p->walk.parts = part_count(p);
	p->tally.later += files_in(p);
	return walk_again(p, 0);
}

static void estimate(struct pass *p)
{
	const struct whatif_pass pass = {
		.classes = &p->classes,
		.trees = p->trees,
		.pool = p->pool,
		.known = &p->known,
		.store = p->adopt.store,
		.ignored = p->adopt.ignored,
		.dry_run = p->adopt.dry_run,
	};
	p->has_whatif = whatif_add(&pass, &p->whatif) == 0;
}

static int run_parts(struct pass *p)
{
	int r = walk_first(p);
	size_t later = p->walk.parts > 0 ? files_in(p) : 0;
	if (r == 0)
		r = read_all(p);
	if (r == 0 && p->walk.parts == 0 && !stop_asked())
		estimate(p);
	for (unsigned part = 1; part < p->walk.parts && r == 0 && !stop_asked(); part++) {
		r = walk_again(p, part);
		later += files_in(p);
		if (r == 0)
			r = read_all(p);
	}
	settle_later(p, later);
	progress_phase(p->work.progress, PROGRESS_FLUSH);  // from here on no guest is named any more
	return r;
}

// @keep: the index is to have them anew.
static int load_known(struct pass *p, struct store *s, bool keep)
{
	struct shards *shards;
	int r = shards_load(&p->hashed, p->objects_limit, keep, &shards);
	if (r < 0)
		return r;
	r = known_load(s, shards, p->adopt.ignored != 0, p->threads, &p->known);
	p->objects_outdated = r == 0 && shards->outdated;
	shards_free(shards);
	return r;
}

// Are the guest's listings worth renewing? More than one directory in fifty is not as they say, and they will
// not be too long.
static bool is_outdated(const struct pass *p, const struct tree *t)
{
	return t->directories_read * 50 > t->dir_count && t->seen < p->walk.listing_limit / LISTING_USUAL;
}

// The same again for those guests, to keep what their directories hold. Nothing is counted or told.
static void *list_thread(void *arg)
{
	struct pass *p = arg;
	struct tally tally = { 0 };
	for (struct tree *t; (t = next_tree(p));)
		if (p->outdated[t->index])
			walk_guest(&p->walk, p->pool, t, &tally);
	return NULL;
}

static void list_outdated(struct pass *p, struct store *s)
{
	struct report silent;

	filter_free(&p->classes);
	known_free(&p->known);
	for (size_t i = 0; i < p->tree_count; i++)
		tree_clear(&p->trees[i]);
	malloc_trim(0);  // what comes is not to lie above what the files took
	if (load_known(p, s, true) < 0)
		return;
	report_init_silent(&silent);
	p->walk.report = &silent;
	p->walk.links_only = p->walk.list = true;
	p->walk.parts = 0;
	run_threads(p, (unsigned)at_most(p->tree_count, p->walkers), "list", list_thread);
	p->walk.report = p->report;
	report_destroy(&silent);
}

// Directories are listed at the end, while they are in memory, as files that become links move their ctimes:
// the next pass need not read them then. An error here only means that it does.
static void list_all(struct pass *p, struct store *s)
{
	bool any = p->objects_outdated;

	p->outdated = p->hashed.index && !stop_asked() ? calloc(p->tree_count + 1, sizeof(bool)) : NULL;
	for (size_t i = 0; p->outdated && i < p->tree_count; i++) {
		p->outdated[i] = is_outdated(p, &p->trees[i]);
		any = any || p->outdated[i];
	}
	if (p->outdated && any)
		list_outdated(p, s);
	free(p->outdated);
}

static int run_stages(struct pass *p, struct store *s)
{
	uint64_t renewed;

	adopt_init(&p->adopt, p->pool);
	int r = load_known(p, s, false);
	if (r == 0)
		r = known_load_quarantined(s, &p->quarantined);
	if (r == 0)
		r = mounts_load(p->mounted, &p->mounts);
	if (r == 0)
		r = run_parts(p);
	adopt_destroy(&p->adopt);
	for (size_t i = 0; i < p->tree_count; i++)
		p->guests_elsewhere += p->trees[i].is_elsewhere;
	if (p->tally.objects > 0 && !p->adopt.dry_run)
		marked_renew_changed(s, &renewed);  // the next pass or mount need not look at what is new
	if (r == 0)
		list_all(p, s);
	return r;
}

static int compare_guest(const void *name, const void *tree)
{
	return strcmp(name, ((const struct tree *)tree)->guest);
}

// They are in the order of their names.
static bool has_listings(const char *name, void *arg)
{
	const struct pass *p = arg;
	return strcmp(name, STORE_DIR) == 0 ||
	       bsearch(name, p->trees, p->tree_count, sizeof(*p->trees), compare_guest);
}

uint64_t pass_errors(const struct pass_result *r)
{
	return tally_errors(&r->tally) + r->apart.errors + (r->apart.error < 0);
}

static void save_index(struct pass *p, int64_t started, bool good, struct pass_result *result)
{
	const struct tally *t = &p->tally;
	bool would = p->adopt.dry_run;  // it only filled the index
	const struct index_pass pass = {
		.started = started,
		.seconds = result->seconds,
		.guests = result->guests,
		.seen = t->seen,
		.linked = would ? 0 : t->linked,
		.objects = would ? 0 : t->objects,
		.freed = would ? 0 : t->freed,
		.errors = pass_errors(result),
		.signal = result->signal,
	};
	bool whole = good && !stop_asked() && p->walk.policy->guests.count == 0;
	if (whole)
		hashed_keep_guests(&p->hashed, has_listings, p);
	int r = hashed_save(&p->hashed, whole, &pass);
	if (result->index_error == 0)
		result->index_error = r;
}

static void pass_free(struct pass *p)
{
	free_trees(p);
	known_free(&p->known);
	known_free(&p->quarantined);
	mounts_free(&p->mounts);
	hashed_free(&p->hashed);
	mutex_destroy(&p->work.lock);
	mutex_destroy(&p->lock);
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void pass_init(struct pass *p, const struct openpool *pool, dev_t dev, const struct pass_options *o,
		      struct report *report)
{
	struct store *s = pool->store;

	*p = (struct pass){
		.pool = pool->dir,
		.mounted = pool->mounted,
		.threads = thread_count(o->threads),
		.walkers = o->threads > 0 ? o->threads : DEFAULT_WALKERS,
		.report = report,
		.adopt = { .store = s,
			   .known = &p->known,
			   .hashed = &p->hashed,
			   .report = report,
			   .dry_run = o->dry_run,
			   .durable.wanted = o->sync && !o->dry_run,
			   .ignored = o->ignored },
		.walk = { .known = &p->known,
			  .quarantined = &p->quarantined,
			  .mounts = &p->mounts,
			  .hashed = &p->hashed,
			  .report = report,
			  .dev = s ? s->dev : dev,
			  .seed = s ? s->seed : 0,
			  .ignored = o->ignored,
			  .apart = true,
			  .restore = o->dry_run ? RESTORE_FORETOLD : RESTORE_OBJECTS,
			  .store = s,
			  .policy = o->policy },
		.work = { .adopt = &p->adopt,
			  .classes = &p->classes,
			  .pool = pool->dir,
			  .progress = o->progress,
			  .throttle = o->throttle },
		.budget.limit = o->memory > 0 ? o->memory : usual_memory(),
	};
	p->objects_limit = p->budget.limit / LISTING_SHARE;
	p->walk.listing_limit = p->objects_limit / p->walkers;
	share_fds(p);
	mutex_init(&p->lock);
	mutex_init(&p->work.lock);
}

int pass_run(const struct openpool *pool, const struct pass_options *o, struct report *report,
	     struct pass_result *ret)
{
	struct store *s = pool->store;
	struct timespec start;
	clock_gettime(CLOCK_MONOTONIC, &start);
	*ret = (struct pass_result){ 0 };

	struct stat st;
	if (fstat(pool->dir, &st) < 0)
		return -errno;
	int r = o->dry_run ? 0 : replace_recover(s, &ret->recovery);
	if (r < 0)
		return r;

	struct pass p;
	pass_init(&p, pool, st.st_dev, o, report);
	r = hashed_load(s, o->ignored, !o->dry_run || o->write_index, &p.hashed, &ret->index,
			&ret->index_error);
	if (r == 0)
		r = run_stages(&p, s);

	ret->tally = p.tally;
	ret->whatif = p.whatif;
	ret->has_whatif = p.has_whatif;
	ret->guests = p.tree_count;
	ret->guests_elsewhere = p.guests_elsewhere;
	ret->apart = p.apart;
	ret->foreign = p.known.foreign;
	ret->signal = stop_signal();
	ret->seconds = seconds_since(&start);
	save_index(&p, time(NULL) - (time_t)ret->seconds, r == 0, ret);
	pass_free(&p);
	return r;
}
