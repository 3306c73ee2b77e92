#include "hashify/pass.h"

#include "hashify/adopt.h"
#include "hashify/filter.h"
#include "hashify/known.h"
#include "hashify/reader.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/walk.h"
#include "store/base/cleanup.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// Cold reads gain from a queue, even on few CPUs; beyond this the store's own directories become the limit.
#define MIN_THREADS 4
#define MAX_THREADS 8

// Fds that a worker needs besides its open directories and displaced files.
#define FDS_PER_WORKER (GROUPS_OPEN_TARGETS + 16)
#define MAX_OPEN_DIRS 256
#define MAX_WAITING 256

struct pass {
	int pool;
	uint64_t seed;
	unsigned threads;
	size_t open_dirs;  // per worker
	struct report *report;
	struct known known;
	struct tree *trees;
	size_t tree_count;
	struct walk walk;
	struct classes classes;
	struct adopt adopt;

	pthread_mutex_t lock;  // guards all below
	size_t next;           // the next guest to walk, then the next class to read
	unsigned workers;      // that have started to read
	struct tally tally;
	int error;  // the first that ends the pass
};

// A worker has ended: its share of the result.
static void pass_join(struct pass *p, const struct tally *tally, int error)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&p->lock);
	tally_add(&p->tally, tally);
	if (p->error == 0)
		p->error = error;
}

// Takes the next of @count pieces of work, or -1.
static ssize_t pass_next(struct pass *p, size_t count)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&p->lock);
	if (stop_asked() || p->error < 0 || p->next >= count)
		return -1;
	return (ssize_t)p->next++;
}

static int run_threads(struct pass *p, unsigned count, const char *name, void *(*run)(void *))
{
	pthread_t threads[MAX_THREADS];
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

static void *walk_thread(void *arg)
{
	struct pass *p = arg;
	struct tally tally = { 0 };
	int r = 0;
	for (ssize_t i; r == 0 && (i = pass_next(p, p->tree_count)) >= 0;)
		r = walk_guest(&p->walk, p->pool, &p->trees[i], &tally);
	pass_join(p, &tally, r);
	return NULL;
}

static int walk_all(struct pass *p)
{
	int r = walk_guests(p->pool, &p->trees, &p->tree_count);
	if (r < 0)
		return r;
	return run_threads(p, p->tree_count < p->threads ? (unsigned)p->tree_count : p->threads, "walk",
			   walk_thread);
}

static void skip_file(struct pass *p, struct tally *tally, const struct tree_file *f, enum reason reason,
		      int err)
{
	report_skip(p->report, tally, &(struct report_place){ &p->trees[f->guest], f->dir, f->name }, reason,
		    err);
}

static void read_file(struct pass *p, struct reader *reader, struct adopter *adopter, struct tally *tally,
		      const struct tree_file *f, bool alone)
{
	struct reading r;
	int err = reader_open(reader, f, &r);
	if (err < 0) {
		skip_file(p, tally, f, reason_of_reading(err), err);
		return;
	}
	if (alone && !known_identity(&p->known, f->size, r.identity)) {
		skip_file(p, tally, f, REASON_ALONE, 0);
		reader_close(&r);
		return;
	}
	err = reader_hash(reader, &r);
	if (err < 0) {
		skip_file(p, tally, f, reason_of_reading(err), err);
		reader_close(&r);
		return;
	}
	tally->read += f->size;
	adopter_take(adopter, &r);
}

static void read_class(struct pass *p, struct reader *reader, struct adopter *adopter, struct tally *tally,
		       const struct class *c)
{
	size_t done = 0;
	while (done < c->count && !stop_asked())
		read_file(p, reader, adopter, tally, c->files[done++], c->count == 1);
	adopter_end_class(adopter, done < c->count ? REASON_STOPPED : REASON_ALONE);
	while (done < c->count)
		skip_file(p, tally, c->files[done++], REASON_STOPPED, 0);
}

static int read_classes(struct pass *p, struct tally *tally)
{
	mutex_lock(&p->lock);
	unsigned worker = p->workers++;
	mutex_unlock(&p->lock);

	struct reader *reader;
	struct adopter *adopter;
	int r = reader_new(p->trees, p->pool, p->seed, p->open_dirs, &reader);
	if (r < 0)
		return r;
	r = adopter_new(&p->adopt, reader, tally, worker, &adopter);
	if (r == 0) {
		for (ssize_t i; (i = pass_next(p, p->classes.count)) >= 0;)
			read_class(p, reader, adopter, tally, &p->classes.list[i]);
		r = adopter_free(adopter);
	}
	reader_free(reader);
	return r;
}

static void *read_thread(void *arg)
{
	struct pass *p = arg;
	struct tally tally = { 0 };
	int r = read_classes(p, &tally);
	pass_join(p, &tally, r);
	return NULL;
}

static int read_all(struct pass *p)
{
	p->adopt.trees = p->trees;
	int r = filter_classes(p->trees, p->tree_count, &p->known, p->report, &p->tally, &p->classes);
	if (r < 0)
		return r;
	r = run_threads(p, p->threads, "read", read_thread);
	for (size_t i = p->next; i < p->classes.count; i++)  // it was stopped
		for (size_t n = 0; n < p->classes.list[i].count; n++)
			skip_file(p, &p->tally, p->classes.list[i].files[n], REASON_STOPPED, 0);
	return r;
}

static unsigned thread_count(unsigned wanted)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (wanted == 0)
		wanted = cpus > 0 ? (unsigned)cpus : 1;
	if (wanted < MIN_THREADS)
		wanted = MIN_THREADS;
	return wanted > MAX_THREADS ? MAX_THREADS : wanted;
}

static size_t at_most(size_t wanted, size_t limit)
{
	return wanted < limit ? wanted : limit;
}

// How many directories and displaced files a worker may keep open within the limit on fds, of which others
// need some.
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
	p->open_dirs = at_most(left / 2, MAX_OPEN_DIRS);
	p->adopt.waiting = 1 + (unsigned)at_most(left / 2, MAX_WAITING);
}

static int run_stages(struct pass *p, struct store *s)
{
	int r = adopt_init(&p->adopt, p->pool);
	if (r < 0)
		return r;
	r = known_load(s, &p->known);
	if (r == 0)
		r = walk_all(p);
	if (r == 0)
		r = read_all(p);
	adopt_destroy(&p->adopt);
	return r;
}

static void pass_free(struct pass *p)
{
	filter_free(&p->classes);
	for (size_t i = 0; i < p->tree_count; i++)
		tree_free(&p->trees[i]);
	free(p->trees);
	known_free(&p->known);
	mutex_destroy(&p->lock);
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

int pass_run(int pool, struct store *s, const struct pass_options *o, struct report *report,
	     struct pass_result *ret)
{
	struct timespec start;
	clock_gettime(CLOCK_MONOTONIC, &start);
	*ret = (struct pass_result){ 0 };

	struct stat st;
	if (fstat(pool, &st) < 0)
		return -errno;
	int r = o->dry_run ? 0 : replace_recover(s, &ret->recovery);
	if (r < 0)
		return r;

	struct pass p = {
		.pool = pool,
		.seed = s ? s->seed : 0,
		.threads = thread_count(o->threads),
		.report = report,
		.adopt = { .store = s, .report = report, .dry_run = o->dry_run, .sync = o->sync },
		.walk = { .report = report, .dev = s ? s->dev : st.st_dev },
	};
	p.adopt.known = p.walk.known = &p.known;
	share_fds(&p);
	mutex_init(&p.lock);
	r = run_stages(&p, s);

	ret->tally = p.tally;
	ret->guests = p.tree_count;
	ret->foreign = p.known.foreign;
	ret->signal = stop_signal();
	pass_free(&p);
	ret->seconds = seconds_since(&start);
	return r;
}
