#include "store/quarantine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/mark.h"
#include "store/store.h"

#define QUARANTINE "quarantine"

void quarantine_path_print(const struct object_key *key, char ret[OBJECT_PATH_SIZE])
{
	static_assert(sizeof(QUARANTINE "/") - 1 + OBJECT_NAME_SIZE <= OBJECT_PATH_SIZE, "the path fits");
	memcpy(ret, QUARANTINE "/", sizeof(QUARANTINE "/") - 1);
	object_name_print(key, ret + sizeof(QUARANTINE "/") - 1);
}

// Guests' names of @path stay links to every mount.
static int keep_marked(struct store *s, const char *path, struct digest digest)
{
	struct stat st;

	auto_close int fd = openat(s->dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink < 2)
		return 0;
	int r = mark_as_link(s->marks, fd, &st, digest);
	// Its mode keeps even its owner out. Moving it is all that can be done.
	return r == -EACCES ? 0 : r;
}

// Moves @path to the first variant that is free.
static int move(struct store *s, const char *path, struct object_key *key)
{
	char to[OBJECT_PATH_SIZE];

	for (;;) {
		quarantine_path_print(key, to);
		if (renameat2(s->dir, path, s->dir, to, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST || key->variant == UINT32_MAX)
			return -errno;
		key->variant++;
	}
}

int quarantine_add(struct store *s, struct object_key *key)
{
	char path[OBJECT_PATH_SIZE];

	object_path_print(key, path);
	int r = keep_marked(s, path, key->digest);
	if (r < 0)
		return r;
	if (mkdirat(s->dir, QUARANTINE, 0700) < 0 && errno != EEXIST)
		return -errno;
	struct object_key moved = *key;
	r = move(s, path, &moved);
	if (r == 0)
		*key = moved;
	return r;
}

bool quarantine_has(const struct store *s, const struct object_key *key, uint64_t ino)
{
	char path[OBJECT_PATH_SIZE];
	struct stat st;

	quarantine_path_print(key, path);
	return fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == ino;
}

struct visit {
	int (*each)(const struct object_key *key, const struct stat *st, void *arg);
	void *arg;
	uint64_t *foreign;
};

static int visit_entry(int dir, const struct dirent64 *e, void *arg)
{
	const struct visit *v = arg;
	struct object_key key;
	struct stat st;

	if (object_name_parse(e->d_name, &key) < 0) {
		++*v->foreign;
		return 0;
	}
	if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return v->each(&key, &st, v->arg);
}

int quarantine_each(struct store *s,
		    int (*each)(const struct object_key *key, const struct stat *st, void *arg), void *arg,
		    uint64_t *ret_foreign)
{
	struct visit v = { each, arg, ret_foreign };
	int r = dir_each(s->dir, QUARANTINE, visit_entry, &v);
	return r == -ENOENT ? 0 : r;
}
