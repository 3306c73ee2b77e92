// What a killed hashify, a killed hashfs or a power cut left in tmp/.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/claim.h"
#include "store/content.h"
#include "store/displaced.h"
#include "store/identity.h"
#include "store/journal.h"
#include "store/object.h"
#include "store/put_back.h"
#include "store/replace.h"
#include "store/store.h"
#include "store/variants.h"

static int same_bytes(int a, int b, uint64_t size)
{
	auto_free char *buffers = malloc(2 * (size_t)CONTENT_BUFFER_SIZE);

	return buffers ? content_equal(a, b, size, buffers, buffers + CONTENT_BUFFER_SIZE) : -ENOMEM;
}

// Is the displaced file @fd what the object is in every respect, and has nobody it open for writing, or holds
// a lock on which others are to meet him? Nor has the guest given it a second name, by a descriptor: that
// shall go on being the same file as the first.
static int is_same_as(int fd, const struct claim *claim, int object, const struct stat *object_st)
{
	if (claim->st.st_size != object_st->st_size || claim->st.st_nlink != 1)
		return 0;
	int r = identity_same(fd, &claim->st, object, object_st);
	if (r > 0)
		r = same_bytes(fd, object, (uint64_t)object_st->st_size);
	if (r > 0)
		r = claim_holds(claim, false);
	return r > 0 ? !claim_is_locked(claim) : r;
}

// A directory that is immutable, of another project, or not ours to write to will be so the next time, and
// what is a mount point, too.
static bool is_refused(int r)
{
	return r == -EPERM || r == -EACCES || r == -EXDEV || r == -EBUSY;
}

static int keep(struct store *s, const char *name, struct recovery *ret)
{
	int r = displaced_keep(s, name);
	if (is_refused(r))  // it is kept where it is
		r = 0;
	ret->kept += r == 0;
	return r;
}

// The file, its object, its journal or the directory it belongs in is damaged, and will be so the next time.
static bool is_broken(int r)
{
	return r == -EIO || r == -EUCLEAN || r == -EBADMSG;
}

// Returns 0: it ends nothing.
static int note_broken(const char *name, const char *path, int error, struct recovery *ret)
{
	if (ret->broken++ > 0)
		return 0;
	ret->broken_error = error;
	snprintf(ret->broken_name, sizeof(ret->broken_name), "%s", name);
	snprintf(ret->broken_path, sizeof(ret->broken_path), "%s", path ? path : "");
	return 0;
}

// One such file must not stop every pass to come. To go on is safe: whatever there may be of the file stays,
// its name is either one that nothing of ours removes, or the old one, which is tried again and which no link
// gets meanwhile, and the guest has our link, as after any other file that is kept. If it is the whole
// filesystem that fails, the pass meets that itself. All other errors, of a full disk or one that is
// read-only for example, end recovery: when they are mended the file can go where it belongs, as long as its
// journal is there.
static int keep_broken(struct store *s, const char *name, const char *path, int error, struct recovery *ret)
{
	int r = displaced_keep(s, name);
	if (r < 0 && !is_broken(r) && !is_refused(r))
		return r;
	ret->kept++;
	return note_broken(name, path, error, ret);
}

static bool is_link(const struct store *s, const char *name, const struct variants *links)
{
	struct stat st;
	return fstatat(s->tmp, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && variants_have(links, st.st_ino);
}

static int give_back(struct store *s, const char *name, const struct variants *links, struct recovery *ret)
{
	auto_free char *path = NULL;
	struct dir_id in;

	int r = journal_find(s, name, &path, &in);
	if (r == 0)
		r = put_back_found(s, name, path, in, links);
	if (r == -ENOENT || r == PLACE_TAKEN || is_refused(r))
		return keep(s, name, ret);
	if (is_broken(r) && is_link(s, name, links))  // the file is back, but that cannot be removed
		return note_broken(name, NULL, r, ret);
	if (is_broken(r))
		return keep_broken(s, name, path, r, ret);
	if (r == PUT_BACK)
		ret->put_back++;
	return r;
}

static int drop(struct store *s, const char *name, struct recovery *ret)
{
	int r = displaced_drop(s, name);
	if (r == 0)
		ret->removed++;
	return r;
}

// For what is nobody's: it may stay there as well.
static int drop_ours(struct store *s, const char *name, struct recovery *ret)
{
	int r = drop(s, name, ret);
	return is_broken(r) ? note_broken(name, NULL, r, ret) : r;
}

// 1 if it was dropped, 0 or an error if it must not be.
static int drop_if_same(struct store *s, const char *name, int object, const struct stat *object_st,
			struct recovery *ret)
{
	struct claim claim;
	auto_close int fd = beneath_open_file(s->tmp, name);

	if (fd < 0)
		return fd;
	int r = claim_take(fd, &claim);
	if (r < 0)
		return r;
	r = is_same_as(fd, &claim, object, object_st);
	if (r > 0 && drop(s, name, ret) < 0)
		r = 0;
	claim_drop(&claim);
	return r;
}

// The object is damaged, or in quarantine. So nothing tells whether the displaced file is still what it was,
// and it is never dropped. Where it belongs can be told: where our link is, by its inode.
static int recover_without(struct store *s, const char *name, uint64_t ino, const struct object_key *key,
			   struct recovery *ret)
{
	struct variants links = { 0 };

	int r = variants_find(s, key, &links);
	if (r == 0)
		r = variants_have(&links, ino) ? drop_ours(s, name, ret) : give_back(s, name, &links, ret);
	variants_free(&links);
	return r;
}

// Four things have such a name: a link that was not exchanged yet (the object itself), a displaced file that
// is what its object is, one that a guest wrote to after it was displaced, and whatever a guest had put in
// the file's place. The guest gets back all but the first two, and what cannot be read.
static int recover_displaced(struct store *s, const char *name, const struct object_key *key,
			     struct recovery *ret)
{
	struct stat object_st, st;

	if (fstatat(s->tmp, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	auto_close int object = object_open(s, key, &object_st);
	if (displaced_is_transient(object))
		return object;
	if (object < 0)
		return recover_without(s, name, st.st_ino, key, ret);
	if (st.st_ino == object_st.st_ino)
		return drop_ours(s, name, ret);

	if (S_ISREG(st.st_mode) && drop_if_same(s, name, object, &object_st, ret) > 0)
		return 0;
	uint64_t ino = object_st.st_ino;
	return give_back(s, name, &(struct variants){ .inodes = &ino, .count = 1 }, ret);
}

struct recovering {
	struct store *store;
	struct recovery done;
	uint64_t displaced;
	int first_error;
};

static int recover_one(struct store *s, const char *name, struct recovery *ret)
{
	struct object_key key;
	int r = 0;  // of a journal, what was kept, or what is not ours

	if (displaced_name_parse(name, &key) == 0)
		r = recover_displaced(s, name, &key, ret);
	else if (strncmp(name, "copy-", 5) == 0)
		r = drop_ours(s, name, ret);
	return is_broken(r) ? keep_broken(s, name, NULL, r, ret) : r;
}

// Goes on after an error, whose file stays where it is, and the journals with it.
static int visit(const char *name, void *arg)
{
	struct recovering *x = arg;
	int r = recover_one(x->store, name, &x->done);
	if (x->first_error == 0)
		x->first_error = r;
	return 0;
}

static int count(const char *name, void *arg)
{
	struct recovering *x = arg;
	struct object_key key;
	x->done.kept_before += displaced_is_kept(name);
	x->displaced += displaced_name_parse(name, &key) == 0;
	return 0;
}

// Who was killed may have displaced a file just now.
static void wait_for_writers(const struct recovering *x)
{
	const struct timespec grace = { .tv_nsec = DISPLACED_GRACE_NSEC };
	if (x->displaced > 0)
		nanosleep(&grace, NULL);
}

int replace_recover(struct store *s, struct recovery *ret)
{
	struct recovering x = { .store = s };
	int r = tmp_each(s, count, &x);  // first: what is kept now is none of those before
	wait_for_writers(&x);
	if (r == 0)
		r = tmp_each(s, visit, &x);
	if (r == 0)
		r = x.first_error;
	if (r == 0)
		r = journal_remove_all(s);
	tmp_worker_remove_all(s);
	if (r == 0)
		*ret = x.done;
	return r;
}
