// What a killed hashify, a killed hashfs or a power cut left in tmp/.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/base/cleanup.h"
#include "store/claim.h"
#include "store/content.h"
#include "store/displaced.h"
#include "store/identity.h"
#include "store/journal.h"
#include "store/object.h"
#include "store/replace.h"
#include "store/store.h"
#include "store/xattr.h"

static int same_identity(int a, const struct stat *a_st, int b, const struct stat *b_st)
{
	struct xattr_set ax = { 0 }, bx = { 0 };

	int r = xattr_read(a, &ax);
	if (r == 0)
		r = xattr_read(b, &bx);
	if (r == 0)
		r = identity_equal(a_st, &ax, b_st, &bx);
	xattr_free(&ax);
	xattr_free(&bx);
	return r;
}

static int same_bytes(int a, int b, uint64_t size)
{
	auto_free char *buffers = malloc(2 * (size_t)CONTENT_BUFFER_SIZE);

	return buffers ? content_equal(a, b, size, buffers, buffers + CONTENT_BUFFER_SIZE) : -ENOMEM;
}

// 1 if the displaced file @fd is what the object is in every respect, and nobody has it open for writing.
static int is_same_as(int fd, const struct claim *claim, int object, const struct stat *object_st)
{
	if (claim->st.st_size != object_st->st_size)
		return 0;
	int r = same_identity(fd, &claim->st, object, object_st);
	if (r > 0)
		r = same_bytes(fd, object, (uint64_t)object_st->st_size);
	if (r > 0)
		r = claim_holds(claim, false);
	return r;
}

static int can_drop(int fd, int object, const struct stat *object_st)
{
	struct claim claim;

	int r = claim_take(fd, &claim);
	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	r = is_same_as(fd, &claim, object, object_st);
	claim_drop(&claim);
	return r;
}

static int keep(struct store *s, const char *name, struct recovery *ret)
{
	ret->kept++;
	return displaced_keep(s, name);
}

static int put_back(struct store *s, const char *name, uint64_t object, struct recovery *ret)
{
	auto_free char *path = NULL;

	int r = journal_find(s, name, &path);
	if (r == -ENOENT)
		return keep(s, name, ret);
	if (r < 0)
		return r;
	r = displaced_put_back(s, name, path, object);
	if (r == PLACE_TAKEN)
		return keep(s, name, ret);
	if (r < 0)
		return r;
	ret->put_back++;
	return 0;
}

static int drop(struct store *s, const char *name, struct recovery *ret)
{
	ret->removed++;
	return tmp_remove(s, name);
}

// Three things have such a name: a link that was not exchanged yet (the object itself), a displaced file that
// is what its object is, and one that a guest wrote to after it was displaced.
static int recover_displaced(struct store *s, const char *name, const struct object_key *key,
			     struct recovery *ret)
{
	struct stat object_st, st;

	auto_close int fd = openat(s->tmp, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	auto_close int object = object_open(s, key, &object_st);
	if (object == -ENOENT || object == -EBADMSG)
		return keep(s, name, ret);
	if (object < 0)
		return object;
	if (st.st_ino == object_st.st_ino)
		return drop(s, name, ret);

	int same = can_drop(fd, object, &object_st);
	if (same < 0)
		return same;
	return same ? drop(s, name, ret) : put_back(s, name, object_st.st_ino, ret);
}

static int recover_one(struct store *s, const char *name, struct recovery *ret)
{
	struct object_key key;

	if (displaced_name_parse(name, &key) == 0)
		return recover_displaced(s, name, &key, ret);
	if (strncmp(name, "copy-", 5) == 0)
		return drop(s, name, ret);
	return 0;  // a journal, what was kept, or what is not ours
}

int replace_recover(struct store *s, struct recovery *ret)
{
	auto_close int fd = openat(s->tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	int r = 0;

	if (!d)
		return -errno;
	take_fd(&fd);
	*ret = (struct recovery){ 0 };
	while (r == 0 && (e = readdir(d)))
		if (e->d_name[0] != '.')
			r = recover_one(s, e->d_name, ret);
	closedir(d);
	return r < 0 ? r : journal_remove_all(s);
}
