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
	struct stat st;   // the displaced file's, after the exchange
	struct timespec since;
};

struct replacer {
	struct store *store;
	unsigned worker;
	int journal;           // owned
	uint64_t serial;       // of the next name in tmp/: none is used twice
	uint64_t first, next;  // the waiting ones: ring[first % JOURNAL_SLOTS] up to, without, next
	uint64_t put_back;
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

// 1 if nobody has written to the displaced file and nobody can any more, 0 if somebody has or may.
static int is_untouched(struct store *s, const char *tmp, const struct stat *before)
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
	claim_drop(&claim);
	return claim.st.st_ino == before->st_ino && claim.st.st_size == before->st_size &&
	       same_time(claim.st.st_mtim, before->st_mtim) && same_time(claim.st.st_ctim, before->st_ctim);
}

static int settle(struct replacer *r, const struct waiting *w)
{
	struct store *s = r->store;
	char tmp[TMP_NAME_SIZE];

	displaced_name_print(&w->key, r->worker, w->serial, tmp);
	int same = is_untouched(s, tmp, &w->st);
	if (same > 0)
		return tmp_remove(s, tmp);

	int e = displaced_put_back(s, tmp, w->path, w->object);
	if (e == PUT_BACK)
		r->put_back++;
	// A guest that replaced the name meanwhile has done away with this file itself; but what we cannot
	// tell, we keep.
	if (e == PLACE_TAKEN)
		return displaced_keep(s, tmp);
	return e < 0 ? e : 0;
}

static int settle_first(struct replacer *r)
{
	struct waiting *w = &r->ring[r->first++ % JOURNAL_SLOTS];

	wait_until_old(&w->since);
	int e = settle(r, w);
	free(w->path);
	return e;
}

int replacer_flush(struct replacer *r, uint64_t *ret_put_back)
{
	int first_error = 0;

	while (r->first < r->next) {
		int e = settle_first(r);
		if (first_error == 0)
			first_error = e;
	}
	*ret_put_back = r->put_back;
	r->put_back = 0;
	return first_error;
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
static int make_room(struct replacer *r)
{
	int e = 0;

	while (e == 0 && r->first < r->next && age(&r->ring[r->first % JOURNAL_SLOTS].since) >= GRACE_NSEC)
		e = settle_first(r);
	if (e == 0 && r->next - r->first == JOURNAL_SLOTS)
		e = settle_first(r);
	return e;
}

static int check_displaced(struct store *s, const char *tmp, const struct claim *claim, struct stat *ret)
{
	if (fstatat(s->tmp, tmp, ret, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (ret->st_ino != claim->st.st_ino || ret->st_dev != claim->st.st_dev)
		return 0;
	return claim_holds(claim, true);
}

// The link is in tmp/ under @tmp. Exchanges it with the victim.
static int exchange_checked(struct replacer *r, const char *tmp, int dir, const char *name, uint64_t object,
			    const struct claim *claim, struct stat *ret)
{
	struct store *s = r->store;

	if (renameat2(s->tmp, tmp, dir, name, RENAME_EXCHANGE) < 0) {
		int e = -errno;
		tmp_remove(s, tmp);
		return e == -ENOENT ? KEPT_CHANGED : e;
	}
	int same = check_displaced(s, tmp, claim, ret);
	if (same > 0)
		return REPLACED;

	// Changed, or we cannot tell: the guest keeps its own file.
	int e = displaced_put_back_at(s, tmp, dir, name, object);
	if (e == PLACE_TAKEN)
		e = displaced_keep(s, tmp);
	if (e < 0)
		return e;
	return same < 0 ? same : KEPT_CHANGED;
}

static int link_to_tmp(struct replacer *r, const char *path, const struct object_key *key, int object,
		       char ret_tmp[TMP_NAME_SIZE])
{
	displaced_name_print(key, r->worker, r->serial++, ret_tmp);
	int e = journal_write(r->journal, r->next, ret_tmp, path);
	return e < 0 ? e : object_link(r->store, object, ret_tmp);
}

int replacer_run(struct replacer *r, int dir, const char *name, const char *path,
		 const struct object_key *key, int object, const struct claim *claim)
{
	char tmp[TMP_NAME_SIZE];
	struct stat object_st;

	if (fstat(object, &object_st) < 0)
		return -errno;
	// rename(2) of two names of one inode does nothing.
	if (object_st.st_ino == claim->st.st_ino && object_st.st_dev == claim->st.st_dev)
		return -EEXIST;
	int e = make_room(r);
	if (e < 0)
		return e;
	auto_free char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;

	e = link_to_tmp(r, path, key, object, tmp);
	if (e < 0)
		return e;
	struct waiting w = { .serial = r->serial - 1, .key = *key, .object = object_st.st_ino };
	e = exchange_checked(r, tmp, dir, name, object_st.st_ino, claim, &w.st);
	if (e != REPLACED)
		return e;
	clock_gettime(CLOCK_MONOTONIC, &w.since);
	w.path = copy;
	copy = NULL;
	r->ring[r->next++ % JOURNAL_SLOTS] = w;
	return REPLACED;
}
