#include "store/object.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/identity.h"
#include "store/mark.h"
#include "store/store.h"

static int check(const struct store *s, int fd, const struct object_key *key, struct stat *ret)
{
	struct digest marked;

	if (fstat(fd, ret) < 0)
		return -errno;
	if (!S_ISREG(ret->st_mode) || (uint64_t)ret->st_size != key->size)
		return -EBADMSG;
	int r = mark_read(s->marks, fd, ret, &marked);
	if (r == -ENODATA || (r == 0 && !digest_equal(marked, key->digest)))
		return -EBADMSG;
	return r;
}

int object_open_unchecked(struct store *s, const struct object_key *key)
{
	char path[OBJECT_PATH_SIZE];

	object_path_print(key, path);
	return beneath_open_file(s->dir, path);
}

int object_stat(struct store *s, const struct object_key *key, struct stat *ret)
{
	char path[OBJECT_PATH_SIZE];

	object_path_print(key, path);
	return fstatat(s->dir, path, ret, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int object_open(struct store *s, const struct object_key *key, struct stat *ret)
{
	auto_close int fd = object_open_unchecked(s, key);
	if (fd < 0)
		return fd == -ELOOP || fd == -ENXIO ? -EBADMSG : fd;
	int r = check(s, fd, key, ret);
	return r < 0 ? r : take_fd(&fd);
}

// Shards are made when their first object comes: a small pool needs no 4096 directories.
static int make_shard(struct store *s, const char *path)
{
	char shard[sizeof("objects/") + OBJECT_SHARD_DIGITS];

	memcpy(shard, path, sizeof(shard) - 1);
	shard[sizeof(shard) - 1] = '\0';
	return mkdirat(s->dir, shard, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int publish(struct store *s, int fd, const char *path)
{
	int r = fd_link(fd, s->dir, path);
	if (r != -ENOENT)
		return r;
	r = make_shard(s, path);
	return r < 0 ? r : fd_link(fd, s->dir, path);
}

static bool has_names(int fd, nlink_t count)
{
	struct stat st;
	return fstat(fd, &st) == 0 && st.st_nlink == count;
}

int object_adopt(struct store *s, int fd, const struct stat *st, const struct object_key *key)
{
	char path[OBJECT_PATH_SIZE];

	// What has a second name may be an object already, and a failure here would take its mark away.
	if (!has_names(fd, 1))
		return -ESTALE;
	int r = mark_write(s->marks, fd, st, key->digest);
	if (r < 0)
		return r;
	object_path_print(key, path);
	r = publish(s, fd, path);
	if (r == 0 && !has_names(fd, 2)) {
		unlinkat(s->dir, path, 0);
		r = -ESTALE;
	}
	if (r < 0)
		mark_remove(s->marks, fd);
	return r;
}

int object_disown(struct store *s, int fd, const struct object_key *key)
{
	char path[OBJECT_PATH_SIZE];

	object_path_print(key, path);
	if (unlinkat(s->dir, path, 0) < 0)
		return -errno;
	return mark_remove(s->marks, fd);
}

// The name that the file of @fd has, or may have, as an object with @digest. 1: it has it; 0: it is free.
static int find_name(struct store *s, int fd, const struct stat *st, struct digest digest,
		     char ret[OBJECT_PATH_SIZE])
{
	struct object_key key = { .digest = digest, .size = (uint64_t)st->st_size };
	struct xattr_set xattrs;
	struct stat named;

	int r = xattr_read(fd, &xattrs);
	if (r < 0)
		return r;
	key.identity = identity_digest(s->seed, st, &xattrs, 0);
	xattr_free(&xattrs);
	for (;; key.variant++) {
		object_path_print(&key, ret);
		if (fstatat(s->dir, ret, &named, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : -errno;
		if (named.st_ino == st->st_ino)
			return 1;
	}
}

int object_is_named(struct store *s, int fd, const struct stat *st, struct digest digest)
{
	char path[OBJECT_PATH_SIZE];
	return find_name(s, fd, st, digest, path);
}

int object_restore(struct store *s, int fd, const struct stat *st, struct digest digest)
{
	char path[OBJECT_PATH_SIZE];
	int r;

	do {
		r = find_name(s, fd, st, digest, path);
		if (r == 0)
			r = publish(s, fd, path);
	} while (r == -EEXIST);  // another thread was faster
	return r < 0 ? r : 0;
}

uint64_t object_link_limit(int fd)
{
	struct statfs st;
	if (fstatfs(fd, &st) < 0)
		return UINT64_MAX;
	switch (st.f_type) {
	case EXT4_SUPER_MAGIC:
		return 65000;
	case BTRFS_SUPER_MAGIC:
		return 65535;
	default:  // XFS: 2^31-1
		return INT32_MAX;
	}
}

int object_link(struct store *s, int fd, const char *name)
{
	return fd_link(fd, s->tmp, name);
}

int object_remove_unused(struct store *s, const char *path, struct stat *ret)
{
	if (fstatat(s->dir, path, ret, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(ret->st_mode))
		return -EINVAL;
	if (ret->st_nlink > 1)
		return OBJECT_HAS_LINKS;
	return unlinkat(s->dir, path, 0) < 0 ? -errno : OBJECT_REMOVED;
}

int object_shard_number(const char *name)
{
	static const char digits[] = "0123456789abcdef";
	int number = 0;

	for (int i = 0; i < OBJECT_SHARD_DIGITS; i++) {
		const char *digit = name[i] != '\0' ? strchr(digits, name[i]) : NULL;
		if (!digit)
			return -1;
		number = number * 16 + (int)(digit - digits);
	}
	return name[OBJECT_SHARD_DIGITS] == '\0' ? number : -1;
}

struct visit {
	const char *shard;  // that is visited now
	bool with_stat;
	int (*each)(const struct object_key *key, const struct stat *st, void *arg);
	void *arg;
	uint64_t *foreign;
};

// Elsewhere nobody would find it by its name.
static bool is_in_its_shard(const char *name, const char *shard)
{
	return strlen(shard) == OBJECT_SHARD_DIGITS && strncmp(name, shard, OBJECT_SHARD_DIGITS) == 0;
}

static int visit_entry(int shard, const struct dirent64 *e, void *arg)
{
	const struct visit *v = arg;
	struct object_key key;
	struct stat st = { .st_ino = e->d_ino };

	if (object_name_parse(e->d_name, &key) < 0 || !is_in_its_shard(e->d_name, v->shard)) {
		++*v->foreign;
		return 0;
	}
	if (v->with_stat && fstatat(shard, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return v->each(&key, &st, v->arg);
}

static bool is_no_directory(int error)
{
	return error == -ENOTDIR || error == -ELOOP || error == -ENOENT;
}

static int visit_names(int objects, struct visit *v)
{
	int r = dir_each(objects, v->shard, visit_entry, v);
	if (!is_no_directory(r))
		return r;
	++*v->foreign;
	return 0;
}

static int visit_shard(int objects, const struct dirent64 *e, void *arg)
{
	struct visit *v = arg;

	v->shard = e->d_name;
	return visit_names(objects, v);
}

int object_each(struct store *s, bool with_stat,
		int (*each)(const struct object_key *key, const struct stat *st, void *arg), void *arg,
		uint64_t *ret_foreign)
{
	struct visit v = { .with_stat = with_stat, .each = each, .arg = arg, .foreign = ret_foreign };
	return dir_each(s->objects, ".", visit_shard, &v);
}

int object_each_in(struct store *s, const char *shard,
		   int (*each)(const struct object_key *key, const struct stat *st, void *arg), void *arg,
		   uint64_t *ret_foreign)
{
	struct visit v = { .shard = shard, .each = each, .arg = arg, .foreign = ret_foreign };
	return visit_names(s->objects, &v);
}
