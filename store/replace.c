#include "store/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/displaced.h"
#include "store/identity.h"
#include "store/journal.h"
#include "store/object.h"
#include "store/store.h"

// A writer that has looked its file up before our exchange has taken its open(2) that far by then, or is
// descheduled on a machine in trouble.
#define GRACE_NSEC 20000000

struct waiting {
	char *path;       // owned; in the pool
	uint64_t serial;  // in its tmp name
	struct object_key key;
	uint64_t object;  // inode
	struct stat st;  // the displaced file's, after the exchange; all zero: it is the guest's, put it back
	struct timespec since;
};

struct replacer {
	struct store *store;
	unsigned worker;
	int journal;           // owned
	uint64_t serial;       // of the next name in tmp/: none is used twice
	uint64_t first, next;  // the waiting ones: ring[first % JOURNAL_SLOTS] up to, without, next
	uint64_t put_back;
	int first_error;  // of settling, since the last flush
	struct waiting ring[JOURNAL_SLOTS];
};

int replacer_new(struct store *s, unsigned worker, struct replacer **ret)
{
	struct replacer *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;

	r->store = s;
	r->worker = worker;
	r->journal = journal_open(s, worker);
	if (r->journal < 0) {
		int e = r->journal;
		free(r);
		return e;
	}
	*ret = r;
	return 0;
}

// Dropping what has waited long enough

static int64_t age(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * INT64_C(1000000000) + now.tv_nsec - since->tv_nsec;
}

static void wait_until_old(const struct timespec *since)
{
	int64_t left;

	while ((left = GRACE_NSEC - age(since)) > 0) {
		const struct timespec pause = { .tv_nsec = left };
		nanosleep(&pause, NULL);
	}
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_untouched(const struct stat *st, const struct stat *before)
{
	return st->st_ino == before->st_ino && st->st_size == before->st_size &&
	       same_time(st->st_mtim, before->st_mtim) && same_time(st->st_ctim, before->st_ctim);
}

// Drops the displaced file if nobody has written to it and nobody can any more: 1. 0: somebody has, or may.
static int drop_untouched(struct store *s, const char *tmp, const struct stat *before)
{
	struct claim claim;
	auto_close int fd = openat(s->tmp, tmp, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = claim_take(fd, &claim);
	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return r;
	r = is_untouched(&claim.st, before);
	if (r > 0 && tmp_remove(s, tmp) < 0)
		r = 0;
	claim_drop(&claim);
	return r;
}

static int settle(struct replacer *r, const struct waiting *w)
{
	struct store *s = r->store;
	char tmp[TMP_NAME_SIZE];

	displaced_name_print(&w->key, r->worker, w->serial, tmp);
	if (drop_untouched(s, tmp, &w->st) > 0)
		return 0;

	int e = displaced_put_back(s, tmp, w->path, w->object);
	if (e == PUT_BACK)
		r->put_back++;
	// A guest that replaced the name meanwhile has done away with this file itself; but what we cannot
	// tell, we keep.
	if (e == PLACE_TAKEN)
		return displaced_keep(s, tmp);
	return e < 0 ? e : 0;
}

// What cannot be settled stays in tmp/ for recovery.
static void settle_first(struct replacer *r)
{
	struct waiting *w = &r->ring[r->first++ % JOURNAL_SLOTS];

	wait_until_old(&w->since);
	int e = settle(r, w);
	if (r->first_error == 0)
		r->first_error = e;
	free(w->path);
}

int replacer_flush(struct replacer *r, uint64_t *ret_put_back)
{
	while (r->first < r->next)
		settle_first(r);

	int e = r->first_error;
	*ret_put_back = r->put_back;
	r->put_back = 0;
	r->first_error = 0;
	return e;
}

int replacer_free(struct replacer *r)
{
	uint64_t put_back;

	if (!r)
		return 0;
	int e = replacer_flush(r, &put_back);
	if (e == 0)
		journal_remove(r->store, r->worker);
	fd_close(r->journal);
	free(r);
	return e;
}

// Replacing

// Those at hand that are old enough cost nothing to settle; a full ring has to be waited for.
static void make_room(struct replacer *r)
{
	while (r->first < r->next && age(&r->ring[r->first % JOURNAL_SLOTS].since) >= GRACE_NSEC)
		settle_first(r);
	if (r->next - r->first == JOURNAL_SLOTS)
		settle_first(r);
}

// The object that takes a name, and the file that has it.
struct swap {
	char tmp[TMP_NAME_SIZE];
	int dir;
	const char *name;
	int object;
	struct stat object_st;
	const struct claim *claim;
};

// Our exchange moves the ctime, so that a setxattr(2) since the comparison shows in the xattrs alone. One
// that comes later moves the ctime that is in @ret.
static int check_displaced(struct store *s, const struct swap *w, struct stat *ret)
{
	const struct stat *expected = &w->claim->st;

	if (fstatat(s->tmp, w->tmp, ret, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (ret->st_ino != expected->st_ino || ret->st_dev != expected->st_dev)
		return 0;
	int same = identity_same(w->claim->fd, expected, w->object, &w->object_st);
	return same > 0 ? claim_holds(w->claim, true) : same;
}

static int link_to_tmp(struct replacer *r, const char *path, const struct object_key *key, struct swap *w)
{
	int e;

	// What could not be settled keeps its name until recovery.
	do {
		displaced_name_print(key, r->worker, r->serial++, w->tmp);
		e = journal_write(r->journal, r->next, w->tmp, path);
		if (e == 0)
			e = object_link(r->store, w->object, w->tmp);
	} while (e == -EEXIST);
	return e;
}

static int put_back(struct store *s, const struct swap *w)
{
	int e = displaced_put_back_at(s, w->tmp, w->dir, w->name, w->object_st.st_ino);
	return e == PLACE_TAKEN ? displaced_keep(s, w->tmp) : e;
}

// The link is in tmp/. Exchanges it with the victim. Whatever this returns, *@ret_left says whether a
// displaced file is in tmp/, and @ret is its status, or all zero if the guest must get it back.
static int exchange_checked(struct store *s, const struct swap *w, bool *ret_left, struct stat *ret)
{
	*ret_left = false;
	if (renameat2(s->tmp, w->tmp, w->dir, w->name, RENAME_EXCHANGE) < 0) {
		int e = -errno;
		tmp_remove(s, w->tmp);
		return e == -ENOENT ? KEPT_CHANGED : e;
	}
	int same = check_displaced(s, w, ret);
	if (same > 0) {
		*ret_left = true;
		return REPLACED;
	}

	// Changed, or we cannot tell: the guest keeps its own file.
	int e = put_back(s, w);
	if (e < 0) {
		*ret_left = true;
		*ret = (struct stat){ 0 };
		return e;
	}
	return same < 0 ? same : KEPT_CHANGED;
}

int replacer_run(struct replacer *r, int dir, const char *name, const char *path,
		 const struct object_key *key, int object, const struct claim *claim)
{
	struct swap swap = { .dir = dir, .name = name, .object = object, .claim = claim };

	if (fstat(object, &swap.object_st) < 0)
		return -errno;
	// rename(2) of two names of one inode does nothing.
	if (swap.object_st.st_ino == claim->st.st_ino && swap.object_st.st_dev == claim->st.st_dev)
		return -EEXIST;
	make_room(r);
	auto_free char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;

	int e = link_to_tmp(r, path, key, &swap);
	if (e < 0)
		return e;
	struct waiting w = { .serial = r->serial - 1, .key = *key, .object = swap.object_st.st_ino };
	bool left;
	e = exchange_checked(r->store, &swap, &left, &w.st);
	if (!left)
		return e;
	clock_gettime(CLOCK_MONOTONIC, &w.since);
	w.path = copy;
	copy = NULL;
	r->ring[r->next++ % JOURNAL_SLOTS] = w;
	return e;
}
