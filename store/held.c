#include "store/held.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/base/fd.h"
#include "store/store.h"

#define HELD "held"

static void print_path(uint64_t ino, char ret[HELD_PATH_SIZE])
{
	snprintf(ret, HELD_PATH_SIZE, HELD "/%" PRIu64, ino);
}

bool held_has(const struct store *s, uint64_t ino)
{
	char path[HELD_PATH_SIZE];
	struct stat st;

	print_path(ino, path);
	return fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == ino;
}

void held_remove(struct store *s, uint64_t ino)
{
	char path[HELD_PATH_SIZE];

	print_path(ino, path);
	if (held_has(s, ino))
		unlinkat(s->dir, path, 0);
}

// Where two have each other's numbers, they change places.
int held_put_right(struct store *s, const char *path, const struct stat *st, char ret[HELD_PATH_SIZE])
{
	print_path(st->st_ino, ret);
	if (strcmp(path, ret) == 0 || renameat2(s->dir, path, s->dir, ret, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (held_has(s, st->st_ino))
		return unlinkat(s->dir, path, 0) < 0 ? -errno : 0;
	return renameat2(s->dir, path, s->dir, ret, RENAME_EXCHANGE) < 0 ? -errno : 0;
}

// Each turn puts one file right, so it ends.
static int link_in_place_of(struct store *s, int fd, const char *path, const struct stat *st)
{
	char right[HELD_PATH_SIZE];
	struct stat there;

	while (fstatat(s->dir, path, &there, AT_SYMLINK_NOFOLLOW) == 0) {
		if (there.st_ino == st->st_ino)
			return 0;
		int r = held_put_right(s, path, &there, right);
		if (r < 0)
			return r;
	}
	return errno == ENOENT ? fd_link(fd, s->dir, path) : -errno;
}

int held_add(struct store *s, int fd, const struct stat *st)
{
	char path[HELD_PATH_SIZE];

	print_path(st->st_ino, path);
	int r = fd_link(fd, s->dir, path);
	if (r == -ENOENT) {
		if (mkdirat(s->dir, HELD, 0700) < 0 && errno != EEXIST)
			return -errno;
		r = fd_link(fd, s->dir, path);
	}
	return r == -EEXIST ? link_in_place_of(s, fd, path, st) : r;
}

struct visit {
	int (*each)(const char *path, const struct stat *st, void *arg);
	void *arg;
	uint64_t *foreign;
};

static int visit_entry(int dir, const struct dirent64 *e, void *arg)
{
	const struct visit *v = arg;
	char path[HELD_PATH_SIZE];
	struct stat st;

	if (strlen(e->d_name) > 20 || strspn(e->d_name, "0123456789") != strlen(e->d_name)) {
		++*v->foreign;
		return 0;
	}
	if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	snprintf(path, sizeof(path), HELD "/%s", e->d_name);
	return v->each(path, &st, v->arg);
}

int held_each(struct store *s, int (*each)(const char *path, const struct stat *st, void *arg), void *arg,
	      uint64_t *ret_foreign)
{
	struct visit v = { each, arg, ret_foreign };
	int r = dir_each(s->dir, HELD, visit_entry, &v);
	return r == -ENOENT ? 0 : r;
}
