#include "hashify/mounts.h"

#include "store/base/array.h"
#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/base/fd.h"
#include "store/base/map.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libmount.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct search {
	int pool;
	dev_t dev;    // of its filesystem, as mount tables have it: on btrfs that is not the st_dev of a file
	char *place;  // owned; the pool's path in its filesystem
	struct map namespaces;  // seen, by inode number
	struct map ours;        // mounts of the pool's filesystem in the table at hand, by number
	struct mounts *found;
	size_t capacity;
};

static int compare_inos(const void *pa, const void *pb)
{
	const uint64_t *a = pa, *b = pb;
	return (*a > *b) - (*a < *b);
}

// What @path has below @top: "" or "/…"; NULL: it does not lie there.
static const char *below(const char *path, const char *top)
{
	size_t len = strcmp(top, "/") == 0 ? 0 : strlen(top);
	if (strncmp(path, top, len) != 0)
		return NULL;
	path += len;
	if (strcmp(path, "/") == 0)
		return "";
	return *path == '\0' || *path == '/' ? path : NULL;
}

// The caller frees it. NULL: no memory.
static char *join(const char *top, const char *rest)
{
	char *path;
	if (*rest && strcmp(top, "/") == 0)
		top = "";
	return asprintf(&path, "%s%s", top, rest) < 0 ? NULL : path;
}

static struct libmnt_table *table_read(const char *path)
{
	struct libmnt_table *t = mnt_new_table();
	if (t && mnt_table_parse_file(t, path) == 0)
		return t;
	mnt_unref_table(t);
	return NULL;
}

static int table_each(struct libmnt_table *t, int (*each)(struct libmnt_fs *m, void *arg), void *arg)
{
	struct libmnt_iter *i = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *m;
	int r = i ? 0 : -ENOMEM;
	while (r == 0 && mnt_table_next_fs(t, i, &m) == 0)
		r = each(m, arg);
	mnt_free_iter(i);
	return r;
}

static int add_file(struct search *s, const char *path)
{
	struct stat st;
	const char *rest = below(path, s->place);
	if (!rest || !*rest)
		return 0;
	auto_close int fd = beneath_open(s->pool, rest + 1, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	uint64_t *inos = array_grow(s->found->inos, s->found->count, &s->capacity, sizeof(*inos));
	if (!inos)
		return -ENOMEM;
	s->found->inos = inos;
	inos[s->found->count++] = st.st_ino;
	return 0;
}

// Adds what @m covers, which lies on the mount @on.
static int add_covered(struct search *s, struct libmnt_fs *m, struct libmnt_fs *on)
{
	const char *rest = below(mnt_fs_get_target(m), mnt_fs_get_target(on));
	if (!rest)
		return 0;
	auto_free char *path = join(mnt_fs_get_root(on), rest);
	return path ? add_file(s, path) : -ENOMEM;
}

static int see_mount(struct libmnt_fs *m, void *arg)
{
	struct search *s = arg;
	struct libmnt_fs *on = map_find(&s->ours, (uint64_t)mnt_fs_get_parent_id(m), NULL, NULL);
	int r = mnt_fs_get_devno(m) == s->dev ? add_file(s, mnt_fs_get_root(m)) : 0;
	return r == 0 && on ? add_covered(s, m, on) : r;
}

static int see_ours(struct libmnt_fs *m, void *arg)
{
	struct search *s = arg;
	if (mnt_fs_get_devno(m) != s->dev)
		return 0;
	int r = map_reserve(&s->ours);
	if (r == 0)
		map_add(&s->ours, (uint64_t)mnt_fs_get_id(m), m);
	return r;
}

static int see_table(struct search *s, struct libmnt_table *t)
{
	int r = table_each(t, see_ours, s);
	if (r == 0)
		r = table_each(t, see_mount, s);
	map_free(&s->ours);
	return r;
}

// Is it the first process that is seen of its mount namespace?
static int is_new(struct search *s, int proc, const char *pid)
{
	char path[NAME_MAX + sizeof("/ns/mnt")];
	struct stat st;

	snprintf(path, sizeof(path), "%s/ns/mnt", pid);
	if (fstatat(proc, path, &st, 0) < 0 || map_find(&s->namespaces, st.st_ino, NULL, NULL))
		return 0;
	int r = map_reserve(&s->namespaces);
	if (r < 0)
		return r;
	map_add(&s->namespaces, st.st_ino, s);
	return 1;
}

static int see_process(int proc, const struct dirent64 *e, void *arg)
{
	char path[NAME_MAX + sizeof("/proc//mountinfo")];
	struct search *s = arg;

	if (!isdigit((unsigned char)*e->d_name))
		return 0;
	int r = is_new(s, proc, e->d_name);
	if (r <= 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%s/mountinfo", e->d_name);
	struct libmnt_table *t = table_read(path);
	r = t ? see_table(s, t) : 0;
	mnt_unref_table(t);
	return r;
}

struct own_mount {
	uint64_t id;
	const char *path;  // of the pool
	struct search *search;
};

static int see_own(struct libmnt_fs *m, void *arg)
{
	const struct own_mount *own = arg;
	if (mnt_fs_get_id(m) < 0 || (uint64_t)mnt_fs_get_id(m) != own->id)
		return 0;
	const char *rest = below(own->path, mnt_fs_get_target(m));
	own->search->dev = mnt_fs_get_devno(m);
	own->search->place = rest ? join(mnt_fs_get_root(m), rest) : NULL;
	return rest && !own->search->place ? -ENOMEM : 0;
}

// After chroot(2) the pool's mount may be above what our table shows: @s->place stays NULL then.
static int find_place(struct search *s)
{
	char path[PATH_MAX];
	struct statx st;
	ssize_t len = readlink(fd_path(s->pool).text, path, sizeof(path) - 1);

	if (len < 0 || statx(s->pool, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
		return -errno;
	path[len] = '\0';
	struct libmnt_table *t = table_read("/proc/self/mountinfo");
	int r = t ? table_each(t, see_own, &(struct own_mount){ st.stx_mnt_id, path, s }) : -ENOENT;
	mnt_unref_table(t);
	return r;
}

int mounts_load(int pool, struct mounts *ret)
{
	struct search s = { .pool = pool, .found = ret };

	*ret = (struct mounts){ 0 };
	int r = find_place(&s);
	if (r == 0 && s.place)
		r = dir_each(AT_FDCWD, "/proc", see_process, &s);
	if (r < 0)
		mounts_free(ret);
	else if (ret->count > 0)
		qsort(ret->inos, ret->count, sizeof(*ret->inos), compare_inos);
	map_free(&s.namespaces);
	free(s.place);
	return r;
}

void mounts_free(struct mounts *m)
{
	free(m->inos);
	*m = (struct mounts){ 0 };
}

bool mounts_has(const struct mounts *m, uint64_t ino)
{
	return m->count > 0 && bsearch(&ino, m->inos, m->count, sizeof(ino), compare_inos);
}
