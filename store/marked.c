#include "store/marked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/clock.h"
#include "store/base/dir.h"
#include "store/base/fd.h"
#include "store/digest.h"
#include "store/held.h"
#include "store/mark.h"
#include "store/object.h"
#include "store/quarantine.h"
#include "store/store.h"

// The whole file. A stamp is the digest of a directory's inode number and times; 0: nothing is known.
struct marked {
	uint64_t stamps[OBJECT_SHARDS];
	uint64_t sum;  // of the stamps
};

static uint64_t sum_of(const struct store *s, const struct marked *m)
{
	return digest_hash64(s->seed, m->stamps, sizeof(m->stamps));
}

// What is not whole says nothing.
static void load(const struct store *s, struct marked *ret)
{
	auto_close int fd = beneath_open_file(s->dir, "marked");
	if (fd < 0 || fd_pread_all(fd, ret, sizeof(*ret), 0) != sizeof(*ret) || ret->sum != sum_of(s, ret))
		*ret = (struct marked){ 0 };
}

static int save(const struct store *s, struct marked *m)
{
	static const char attempt[] = "marked.new";

	unlinkat(s->dir, attempt, 0);
	auto_close int fd = openat(s->dir, attempt, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	m->sum = sum_of(s, m);
	int r = fd_pwrite_all(fd, m, sizeof(*m), 0);
	if (r == 0 && renameat(s->dir, attempt, s->dir, "marked") < 0)
		r = -errno;
	if (r < 0)
		unlinkat(s->dir, attempt, 0);
	return r;
}

static uint64_t stamp_of(const struct store *s, const struct stat *st)
{
	const int64_t fields[] = { (int64_t)st->st_ino, st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
				   st->st_ctim.tv_sec, st->st_ctim.tv_nsec };
	uint64_t stamp = digest_hash64(s->seed, fields, sizeof(fields));
	return stamp != 0 ? stamp : 1;
}

struct visit {
	struct store *store;
	const struct marked *known;
	struct marked now;
	uint64_t renewed;  // that no mount would have known for links
	bool has_written;
	uint64_t foreign;
	bool failed;     // in the directory that is visited
	int error;       // the first that may leave a link unmarked
	int unreadable;  // the first of a file that cannot be read: no mount serves it
};

static void fail(struct visit *v, int *which, int error)
{
	v->failed = true;
	if (*which == 0)
		*which = error;
}

static bool is_broken(int error)
{
	return error == -EIO || error == -EUCLEAN || error == -EBADMSG;
}

// Goes on after an error.
static void renew_mark(struct visit *v, const char *path, struct digest digest)
{
	struct store *s = v->store;
	struct digest marked;
	struct stat st;

	auto_close int fd = beneath_open(s->dir, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int r = fd < 0 ? fd : -errno;
		if (r != -ENOENT)  // gc was faster
			fail(v, is_broken(r) ? &v->unreadable : &v->error, r);
		return;
	}
	if (!S_ISREG(st.st_mode))  // opening it says what it is
		return;
	int r = mark_read(s->marks, fd, &st, &marked);
	if (r == 0 && digest_equal(marked, digest))
		return;
	if (r < 0 && r != -ENODATA) {
		fail(v, &v->unreadable, r);
		return;
	}
	bool is_lost = st.st_nlink > 1 && mark_is_link(s->marks, fd, &st) == 0;
	r = mark_write(s->marks, fd, &st, digest);
	v->has_written = v->has_written || r == 0;
	v->renewed += is_lost && r == 0;
	if (r < 0)
		fail(v, is_lost ? &v->error : &v->unreadable, r);
}

static int visit_object(const struct object_key *key, const struct stat *listed, void *arg)
{
	char path[OBJECT_PATH_SIZE];

	(void)listed;
	object_path_print(key, path);
	renew_mark(arg, path, key->digest);
	return 0;
}

// Whatever it is by now, guests' names that are links to it must stay that.
static int visit_quarantined(const struct object_key *key, const struct stat *listed, void *arg)
{
	char path[OBJECT_PATH_SIZE];

	(void)listed;
	quarantine_path_print(key, path);
	renew_mark(arg, path, key->digest);
	return 0;
}

// So must those of what is held.
static int visit_held(const char *path, const struct stat *st, void *arg)
{
	struct visit *v = arg;
	struct stat now;

	if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
		return 0;
	auto_close int fd = beneath_open(v->store->dir, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0 || fstat(fd, &now) < 0 || mark_is_link(v->store->marks, fd, &now) != 0)
		return 0;
	int r = mark_write(v->store->marks, fd, &now, (struct digest){ 0 });
	v->has_written = v->has_written || r == 0;
	v->renewed += r == 0;
	if (r < 0)
		fail(v, &v->error, r);
	return 0;
}

static int visit_shard(int objects, const struct dirent64 *e, void *arg)
{
	struct visit *v = arg;
	struct stat st;

	int shard = object_shard_number(e->d_name);
	if (shard < 0)
		return 0;
	if (fstatat(objects, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		return 0;
	uint64_t stamp = stamp_of(v->store, &st);
	bool is_settled = clock_is_over(st.st_ctim);  // otherwise another change would not be seen
	v->failed = false;
	int r = 0;
	if (v->known->stamps[shard] != stamp)
		r = object_each_in(v->store, e->d_name, visit_object, v, &v->foreign);
	if (r < 0)
		fail(v, &v->error, r);
	if (!v->failed && is_settled)
		v->now.stamps[shard] = stamp;
	return 0;
}

static int visit_all(struct store *s, const struct marked *known, struct visit *v)
{
	*v = (struct visit){ .store = s, .known = known };
	int quarantined = quarantine_each(s, visit_quarantined, v, &v->foreign);
	int held = held_each(s, visit_held, v, &v->foreign);
	int r = dir_each(s->objects, ".", visit_shard, v);
	r = r < 0 ? r : quarantined;
	r = r < 0 ? r : held;
	return r < 0 ? r : v->error;
}

int marked_renew_all(struct store *s, uint64_t *ret)
{
	*ret = 0;
	auto_free struct visit *v = malloc(sizeof(*v));
	auto_free struct marked *nothing = calloc(1, sizeof(*nothing));
	if (!v || !nothing)
		return -ENOMEM;
	int r = visit_all(s, nothing, v);
	*ret = v->renewed;
	return r < 0 ? r : v->unreadable;
}

int marked_renew_changed(struct store *s, uint64_t *ret)
{
	*ret = 0;
	auto_free struct visit *v = malloc(sizeof(*v));
	auto_free struct marked *known = malloc(sizeof(*known));
	if (!v || !known)
		return -ENOMEM;
	load(s, known);
	int r = visit_all(s, known, v);
	*ret = v->renewed;
	// After a power cut the note must not be there without the marks.
	if (v->has_written && syncfs(s->dir) < 0)
		return -errno;
	if (memcmp(known->stamps, v->now.stamps, sizeof(v->now.stamps)) != 0)
		save(s, &v->now);  // if it cannot, the next time takes longer
	return r;
}
