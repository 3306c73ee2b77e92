#include "hashify/worker.h"

#include "hashify/progress.h"
#include "hashify/reader.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/throttle.h"
#include "hashify/whatif.h"
#include "store/base/cleanup.h"
#include "store/base/thread.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>

// A file in the page cache need not be opened ahead. Each that is not there deepens the window, up to its
// whole size.
#define WINDOW_WARM 2

// More bytes than these are not sent for ahead of time, so that nothing is evicted before it is read and no
// writer waits long for a claim.
#define WINDOW_BYTES ((uint64_t)1024 * 1024)

struct ahead {
	const struct class *class;
	struct reading reading;  // closed, but for the file: an earlier pass has hashed it
	uint64_t bytes;
};

struct worker {
	struct work *work;
	struct tally *tally;
	struct reader *reader;
	struct adopter *adopter;
	const struct class *opening;   // the class whose files are being opened
	size_t opened;                 // of its files
	const struct class *adopting;  // the class that the adopter knows
	struct ahead window[WORKER_WINDOW];
	unsigned first, count;  // of the window
	uint64_t bytes;         // in the window
	unsigned cold;          // how many more files to open ahead
	unsigned number;
	int error;  // that ends the pass
};

static bool is_stopped(const struct worker *w)
{
	return w->error < 0 || stop_asked();
}

static void skip_file(struct worker *w, const struct tree_file *f, enum reason reason, int err)
{
	const struct adopt *a = w->work->adopt;
	const struct report_place place = report_place_of(a->trees, f);
	report_skip(a->report, w->tally, &place, reason, err);
}

static const struct class *next_class(struct work *w)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&w->lock);
	return stop_asked() || w->next == w->classes->count ? NULL : &w->classes->list[w->next++];
}

// The next file to open; NULL: there is none.
static struct tree_file *next_file(struct worker *w)
{
	if (!w->opening || w->opened == w->opening->count) {
		w->opening = next_class(w->work);
		w->opened = 0;
	}
	return w->opening ? w->opening->files[w->opened] : NULL;
}

// Without an object that it may be equal to, a file that is alone need not be read. Its xattrs tell.
static bool is_wanted(const struct adopt *a, const struct class *c, const struct tree_file *f,
		      uint64_t identity)
{
	return c->count > 1 || known_identity(a->known, f->size, identity);
}

// One whose digest is known is read only if it meets its equal.
bool worker_has_to_read(const struct adopt *a, const struct class *c, const struct tree_file *f)
{
	uint64_t identity;
	enum recalled recalled = adopt_recalled(a, f, &identity);
	return recalled == RECALLED_NOTHING ||
	       (recalled == RECALLED_IDENTITY && is_wanted(a, c, f, identity));
}

static int open_file(struct worker *w, struct tree_file *f, struct reading *ret)
{
	w->error = durable_flush(&w->work->adopt->durable, w->work->pool);
	return w->error < 0 ? w->error : reader_open(w->reader, f, ret);
}

static enum reason reason_of_opening(const struct worker *w, int err)
{
	return w->error < 0 ? REASON_STOPPED : reason_of_reading(err);
}

static void tell_done(struct worker *w, const struct class *c, const struct tree_file *f, bool was_read,
		      uint64_t freed)
{
	struct progress *p = w->work->progress;
	bool foreseen = worker_has_to_read(w->work->adopt, c, f);

	progress_guest(p, w->number, w->work->adopt->trees[f->guest].guest);
	if (!foreseen && !was_read)
		return;
	if (!foreseen)
		progress_more(p, 1, f->size);
	progress_add(p, w->number, 1, f->size, (int64_t)freed);
}

// @f, of the class being opened, is left alone without having been read.
static void leave_unread(struct worker *w, const struct tree_file *f, enum reason reason, int err)
{
	skip_file(w, f, reason, err);
	throttle_return(w->work->throttle, f->size);
	tell_done(w, w->opening, f, false, 0);
}

// Only its xattrs are unlike those of every object that it may be equal to.
static void leave_alone(struct worker *w, struct tree_file *f, bool has_rights)
{
	f->traits |= WHATIF_ALONE | (has_rights ? 0 : WHATIF_XATTRS);
	leave_unread(w, f, REASON_ALONE, 0);
}

// The file at place @i of the window.
static struct ahead *at(struct worker *w, unsigned i)
{
	return &w->window[(w->first + i) % WORKER_WINDOW];
}

static void put_last(struct worker *w, const struct ahead *a)
{
	*at(w, w->count++) = *a;
	w->bytes += a->bytes;
}

static void open_ahead(struct worker *w, struct tree_file *f, enum recalled recalled, uint64_t identity)
{
	struct ahead a = { .class = w->opening, .reading = { .file = f, .claim.fd = -1 } };
	if (recalled == RECALLED_DIGEST) {
		put_last(w, &a);
		return;
	}
	if (recalled == RECALLED_IDENTITY && !is_wanted(w->work->adopt, w->opening, f, identity)) {
		leave_alone(w, f, false);
		return;
	}
	int err = open_file(w, f, &a.reading);
	if (err < 0) {
		leave_unread(w, f, reason_of_opening(w, err), err);
		return;
	}
	if (!is_wanted(w->work->adopt, w->opening, f, a.reading.identity)) {
		adopter_leave_unread(w->adopter, &a.reading);
		leave_alone(w, f, reader_rights(&a.reading) != 0);
		reader_close(&a.reading);
		return;
	}
	a.bytes = f->size;
	put_last(w, &a);
}

// Has the disk begin with the files of the window from place @from on.
static void send_ahead(struct worker *w, unsigned from)
{
	struct reading *readings[WORKER_WINDOW];
	unsigned count = 0;

	for (unsigned i = from; i < w->count; i++) {
		struct reading *r = &at(w, i)->reading;
		if (r->claim.fd >= 0)
			readings[count++] = r;
	}
	reader_ahead(w->reader, readings, count, w->cold > 0);
	for (unsigned i = 0; i < count; i++) {
		if (readings[i]->cold)
			w->cold = WORKER_WINDOW;
		else if (w->cold > 0)
			w->cold--;
	}
}

static bool has_room(const struct worker *w, const struct tree_file *next)
{
	if (w->count == 0)
		return true;
	unsigned depth = w->cold > WINDOW_WARM ? w->cold : WINDOW_WARM;
	return w->count < depth && w->bytes + next->size <= WINDOW_BYTES;
}

// In a cold window half of it is to be sent for at once.
static bool is_filled(const struct worker *w)
{
	return w->cold > 0 && (w->count > WORKER_WINDOW / 2 || w->bytes > WINDOW_BYTES / 2);
}

static void open_window(struct worker *w)
{
	if (is_filled(w))
		return;
	for (struct tree_file *f; (f = next_file(w)) && has_room(w, f);) {
		bool waits = !throttle_is_free(w->work->throttle);
		if (waits && w->count > 0)
			return;
		uint64_t identity = 0;
		enum recalled recalled = adopt_recalled(w->work->adopt, f, &identity);
		if (waits) {
			// No guest's name is claimed while we wait, and what is displaced not for longer than
			// it must.
			adopter_let_go(w->adopter);
			throttle_take(w->work->throttle, recalled == RECALLED_DIGEST ? 0 : f->size,
				      adopter_tidy, w->adopter);
		}
		if (is_stopped(w))
			return;
		w->opened++;
		open_ahead(w, f, recalled, identity);
	}
}

static void fill_window(struct worker *w)
{
	unsigned from = w->count;
	open_window(w);
	if (!is_stopped(w))
		send_ahead(w, from);
}

static struct ahead take_first(struct worker *w)
{
	struct ahead a = w->window[w->first++ % WORKER_WINDOW];
	w->count--;
	w->bytes -= a.bytes;
	return a;
}

static void adopt(struct worker *w, struct ahead *a)
{
	if (a->class != w->adopting)
		adopter_end_class(w->adopter, REASON_ALONE);
	w->adopting = a->class;
	struct tree_file *f = a->reading.file;
	if (a->reading.claim.fd < 0) {
		if (adopter_recall(w->adopter, f))
			return;
		int err = open_file(w, f, &a->reading);
		if (err < 0) {
			skip_file(w, f, reason_of_opening(w, err), err);
			return;
		}
		reader_ahead(w->reader, &(struct reading *){ &a->reading }, 1, w->cold > 0);
	}
	w->tally->read += f->size;
	adopter_take(w->adopter, &a->reading);
}

static void adopt_first(struct worker *w)
{
	struct ahead a = take_first(w);
	const struct tree_file *f = a.reading.file;  // the reading may be taken
	uint64_t taken = a.reading.claim.fd < 0 ? 0 : f->size;
	uint64_t freed = w->tally->freed, read = w->tally->read;
	adopt(w, &a);
	throttle_owe(w->work->throttle, w->tally->read - read - taken + adopter_reopened(w->adopter));
	tell_done(w, a.class, f, w->tally->read > read, w->tally->freed - freed);
}

static void leave_rest(struct worker *w)
{
	adopter_end_class(w->adopter, is_stopped(w) ? REASON_STOPPED : REASON_ALONE);
	while (w->count > 0) {
		struct ahead a = take_first(w);
		skip_file(w, a.reading.file, REASON_STOPPED, 0);
		reader_close(&a.reading);
	}
	while (w->opening && w->opened < w->opening->count)
		skip_file(w, w->opening->files[w->opened++], REASON_STOPPED, 0);
}

static void work_through(struct worker *w)
{
	while (!is_stopped(w)) {
		fill_window(w);
		if (w->count == 0)
			break;
		adopt_first(w);
	}
	leave_rest(w);
}

static unsigned number_of(struct work *w)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&w->lock);
	return w->workers++;
}

int worker_run(struct work *work, struct tally *tally)
{
	const struct adopt *a = work->adopt;
	struct worker *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->work = work;
	w->tally = tally;
	w->number = number_of(work);
	int r = reader_new(a->trees, work->pool, a->store ? a->store->seed : 0, a->ignored, work->open_dirs,
			   &w->reader);
	if (r == 0)
		r = adopter_new(work->adopt, w->reader, tally, w->number, &w->adopter);
	if (r == 0) {
		throttle_join(work->throttle);
		work_through(w);
		throttle_leave(work->throttle);
		r = adopter_free(w->adopter);
		r = w->error < 0 ? w->error : r;
	}
	reader_free(w->reader);
	free(w);
	return r;
}
