#include "store/replace.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/clock.h"
#include "store/base/dir.h"
#include "store/displaced.h"
#include "store/exchange.h"
#include "store/journal.h"
#include "store/object.h"
#include "store/put_back.h"
#include "store/store.h"
#include "store/xattr.h"

// Who has it open for reading alone may be about to change its mode, or to link it: no lease tells of that.
// Most such descriptors are as old as the process, though, and are not waited for any longer.
#define OPEN_GRACE_NSEC (1000 * INT64_C(1000000))

struct waiting {
	char *path;        // owned; in the pool
	struct dir_id in;  // the directory that the path led to
	uint64_t serial;   // in its tmp name
	struct object_key key;
	int link;                 // owned; O_PATH, opened before the exchange
	struct claim claim;       // its fd is owned, its status the displaced file's after the exchange
	struct xattr_set xattrs;  // owned; the displaced file's
	bool give_back;           // it is the guest's
	bool failed;              // to settle it has failed before
	int64_t due, latest;      // to settle it, in nanoseconds on CLOCK_MONOTONIC
};

struct replacer {
	struct store *store;
	unsigned worker;
	char dir[TMP_WORKER_SIZE];  // in tmp/
	int journal;                // owned; -1: there is no room for one
	struct exchange_log log;    // of @dir
	uint64_t serial;            // of the next name in tmp/: none is used twice
	uint64_t first, next;       // the waiting ones: ring[first % size] up to, without, next
	struct replacer_done done;  // since the last flush
	uint64_t failing;           // of the waiting ones: to settle them has failed
	int failure;                // the latest of them, a negative errno
	int first_error;            // of what could not be settled to the end
	bool ends;                  // nothing more will wait
	bool unsettled;             // recovery will want the journal
	unsigned size;
	struct waiting ring[];
};

// A full disk does not keep us from linking, which makes room. Without a record recovery keeps a displaced
// file that has changed, instead of putting it back.
static bool is_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT;
}

int replacer_new(struct store *s, unsigned worker, unsigned waiting, struct replacer **ret)
{
	assert(waiting >= 1 && waiting <= JOURNAL_SLOTS);
	struct replacer *r = calloc(1, sizeof(*r) + waiting * sizeof(*r->ring));
	if (!r)
		return -ENOMEM;

	r->store = s;
	r->worker = worker;
	r->size = waiting;
	r->journal = journal_open(s, worker);
	if (r->journal < 0 && !is_full(r->journal)) {
		int e = r->journal;
		free(r);
		return e;
	}
	tmp_worker_make(s, worker, r->dir);
	int e = exchange_log_open(s, r->dir, &r->log);
	if (e < 0) {
		tmp_worker_remove(s, r->dir);
		cleanup_close(&r->journal);
		free(r);
		return e;
	}
	*ret = r;
	return 0;
}

// The record of what is about to wait next.
static int record(struct replacer *r, const char *tmp, const struct waiting *w)
{
	return r->journal < 0 ? 0 : journal_write(r->journal, r->next, tmp, w->path, w->in);
}

// Dropping what has waited long enough

static void wait_until(int64_t due)
{
	int64_t left;

	while ((left = due - clock_ns(CLOCK_MONOTONIC)) > 0) {
		const struct timespec pause = { .tv_nsec = left };
		nanosleep(&pause, NULL);
	}
}

static void print_tmp(const struct replacer *r, const struct waiting *w, char ret[TMP_NAME_SIZE])
{
	displaced_name_print(r->dir, &w->key, r->worker, w->serial, ret);
}

// @whole: it is as it was, and claimed again.
static int settle(struct replacer *r, struct waiting *w, bool whole)
{
	struct store *s = r->store;
	char tmp[TMP_NAME_SIZE];

	print_tmp(r, w, tmp);
	if (whole && tmp_remove(s, tmp) == 0)
		return 0;

	claim_end(&w->claim);  // or nobody could open it, we ourselves included
	int e = put_back_path(s, tmp, w->link, w->path, w->in);
	if (e == PUT_BACK)
		r->done.put_back++;
	if (e != PLACE_TAKEN)
		return e < 0 ? e : 0;
	// A guest that replaced the name meanwhile has done away with this file itself; but what we cannot
	// tell, we keep.
	e = displaced_keep(s, tmp);
	r->done.kept += e == 0;
	return e;
}

// Puts @w, which was the first, behind the others. One that failed has no choice.
static bool wait_longer(struct replacer *r, const struct waiting *w)
{
	char tmp[TMP_NAME_SIZE];

	print_tmp(r, w, tmp);
	if (record(r, tmp, w) < 0 && !w->failed)
		return false;
	struct waiting later = *w;
	later.due = clock_ns(CLOCK_MONOTONIC) + DISPLACED_GRACE_NSEC;
	r->ring[r->next++ % r->size] = later;
	r->failing += later.failed;
	return true;
}

// It is claimed still; but who has got past write access, and not as far as our lease, is seen when it is
// claimed again. Before Linux 6.13 a setxattr(2) in the tick of our exchange moves no ctime. And who holds a
// lock on it counts on others to meet it.
static bool is_whole(const struct waiting *w, bool *ret_shared)
{
	*ret_shared = false;
	return !w->give_back && claim_retake(&w->claim, ret_shared) > 0 &&
	       xattr_same(w->claim.fd, &w->xattrs) && !(*ret_shared && claim_is_locked(&w->claim));
}

static void waiting_free(struct waiting *w)
{
	claim_end(&w->claim);
	cleanup_close(&w->link);
	xattr_free(&w->xattrs);
	free(w->path);
}

static bool is_due(const struct replacer *r)
{
	return clock_ns(CLOCK_MONOTONIC) >= r->ring[r->first % r->size].due;
}

static bool has_time(const struct waiting *w)
{
	return clock_ns(CLOCK_MONOTONIC) < w->latest;
}

// It is the guest's, and may be what a guest writes to: descriptors or room may be had again later. What a
// guest can bring about for good, recovery keeps.
static bool try_again(struct replacer *r, struct waiting *w, int error)
{
	if (!displaced_is_transient(error) && !is_full(error) && error != -EIO)
		return false;
	w->give_back = w->failed = true;
	r->failure = error;
	if (!r->ends)
		w->latest = clock_ns(CLOCK_MONOTONIC) + OPEN_GRACE_NSEC;
	return has_time(w) && wait_longer(r, w);
}

// What cannot be settled to the end stays in tmp/ for recovery.
static void settle_first(struct replacer *r, bool patient)
{
	struct waiting *w = &r->ring[r->first++ % r->size];

	r->failing -= w->failed;
	wait_until(w->due);
	bool is_shared;
	bool whole = is_whole(w, &is_shared);
	if (whole && is_shared && patient && has_time(w) && wait_longer(r, w))
		return;
	int e = settle(r, w, whole);
	if (e < 0 && try_again(r, w, e))
		return;
	if (r->first_error == 0)
		r->first_error = e;
	r->unsettled = r->unsettled || e < 0;
	waiting_free(w);
}

static void settle_all(struct replacer *r)
{
	for (uint64_t end = r->next; r->first < end;)
		settle_first(r, true);
	while (r->next - r->first > (r->ends ? 0 : r->failing))
		settle_first(r, true);
}

void replacer_tidy(struct replacer *r)
{
	for (uint64_t end = r->next; r->first < end && is_due(r);)
		settle_first(r, true);
}

void replacer_end(struct replacer *r)
{
	r->ends = true;
}

int replacer_flush(struct replacer *r, struct replacer_done *ret)
{
	settle_all(r);
	int e = r->first_error;
	*ret = r->done;
	r->done = (struct replacer_done){ 0 };
	r->first_error = 0;
	return e;
}

int replacer_free(struct replacer *r)
{
	struct replacer_done done;

	if (!r)
		return 0;
	replacer_end(r);
	int e = replacer_flush(r, &done);
	if (!r->unsettled)
		journal_remove(r->store, r->worker);
	exchange_log_close(&r->log);
	tmp_worker_remove(r->store, r->dir);
	cleanup_close(&r->journal);
	free(r);
	return e;
}

// Replacing

// Those at hand that are old enough cost nothing to settle; a full ring has to be waited for. Negative: none
// of them can be settled now.
static int make_room(struct replacer *r)
{
	replacer_tidy(r);
	for (unsigned i = 0; i < r->size && r->next - r->first == r->size; i++)
		settle_first(r, false);
	return r->next - r->first == r->size ? r->failure : 0;
}

// Is what came out what was compared? Our exchange moves the ctime, so that a setxattr(2) since the
// comparison shows in the xattrs alone. One that comes later moves the ctime that is in @ret.
static int check_displaced(struct store *s, const char *tmp, const struct victim *v, struct stat *ret)
{
	if (fstatat(s->tmp, tmp, ret, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (ret->st_ino != v->claim->st.st_ino || ret->st_dev != v->claim->st.st_dev)
		return 0;
	if (ret->st_nlink != v->claim->st.st_nlink)  // the guest's link(2): both names shall stay one file
		return 0;
	return xattr_same(v->claim->fd, v->xattrs) ? claim_holds_as(v->claim, ret, true) : 0;
}

static int link_to_tmp(struct replacer *r, const struct waiting *w, int object, char ret[TMP_NAME_SIZE])
{
	int e;

	// What could not be settled keeps its name until recovery.
	do {
		displaced_name_print(r->dir, &w->key, r->worker, r->serial++, ret);
		e = record(r, ret, w);
		// Half a record may be there, of a name that nothing gets.
		if (is_full(e)) {
			displaced_name_print(r->dir, &w->key, r->worker, r->serial++, ret);
			e = 0;
		}
		if (e == 0)
			e = object_link(r->store, object, ret);
	} while (e == -EEXIST);
	return e;
}

// The link is in tmp/. Exchanges it with the victim. Sets @w->link and @w->give_back and returns what
// replacer_run() does; *@ret_left says whether a displaced file is in tmp/, with the status in @w->claim.
static int exchange_checked(struct replacer *r, const char *tmp, const struct victim *v, struct waiting *w,
			    bool *ret_left)
{
	struct store *s = r->store;
	struct stat named;

	*ret_left = false;
	// The guest may have given the name to something else: that shall not be away even for an instant, as
	// what the guest does to the name meanwhile would be done to our link.
	if (fstatat(v->dir, v->name, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
	    named.st_ino != v->claim->st.st_ino) {
		tmp_remove(s, tmp);
		return KEPT_CHANGED;
	}
	w->link = openat(s->tmp, tmp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int e = w->link < 0 ? -errno : exchange(s, &r->log, tmp, v->dir, v->name);
	if (e < 0) {
		tmp_remove(s, tmp);
		return e == -ENOENT ? KEPT_CHANGED : e;
	}
	int same = check_displaced(s, tmp, v, &w->claim.st);
	if (same > 0) {
		*ret_left = true;
		return REPLACED;
	}

	// Changed, or we cannot tell: the guest keeps its own file.
	e = put_back_or_keep(s, tmp, w->link, v->dir, v->name);
	r->done.kept += e == PLACE_TAKEN;
	if (e < 0) {
		*ret_left = w->give_back = true;
		return e;
	}
	return same < 0 ? same : KEPT_CHANGED;
}

// The guest may be at work in the directory as well: as little as can be lies between the exchange and the
// one back.
static int exchange_announced(struct replacer *r, const char *tmp, const struct victim *v, struct waiting *w,
			      bool *ret_left)
{
	if (v->begin)
		v->begin(v->arg);
	int e = exchange_checked(r, tmp, v, w, ret_left);
	if (v->end)
		v->end(v->arg);
	return e;
}

// @w has what waits, but for the link. What the exchange leaves in tmp/ is added to those that wait.
static int run(struct replacer *r, const struct victim *v, int object, struct waiting *w)
{
	char tmp[TMP_NAME_SIZE];

	int e = link_to_tmp(r, w, object, tmp);
	if (is_full(e) && r->first < r->next) {  // what waits takes room, the names alone at times
		settle_all(r);
		e = link_to_tmp(r, w, object, tmp);
	}
	if (e < 0)
		return e;
	w->serial = r->serial - 1;
	bool left;
	e = exchange_announced(r, tmp, v, w, &left);
	if (!left)
		return e;
	if (e == REPLACED)
		w->claim.fd = take_fd(&v->claim->fd);
	w->due = clock_ns(CLOCK_MONOTONIC) + DISPLACED_GRACE_NSEC;
	w->latest = w->due + OPEN_GRACE_NSEC;
	r->ring[r->next++ % r->size] = *w;
	*w = (struct waiting){ .link = -1, .claim.fd = -1 };
	return e;
}

int replacer_run(struct replacer *r, const struct victim *v, const struct object_key *key, int object,
		 uint64_t ino)
{
	struct waiting w = { .key = *key, .link = -1, .claim.fd = -1 };

	// rename(2) of two names of one inode does nothing.
	if (ino == v->claim->st.st_ino)
		return -EEXIST;
	int e = make_room(r);
	if (e < 0)
		return e;
	e = dir_identify(v->dir, &w.in);
	if (e < 0)
		return e;
	w.path = strdup(v->path);
	e = w.path ? xattr_dup(v->xattrs, &w.xattrs) : -ENOMEM;
	if (e == 0)
		e = run(r, v, object, &w);
	waiting_free(&w);
	return e;
}
