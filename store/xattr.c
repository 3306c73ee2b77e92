#include "store/xattr.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "store/base/cleanup.h"
#include "store/base/fd.h"

bool xattr_is_ours(const char *name)
{
	return strcmp(name, XATTR_MARK_TRUSTED) == 0 || strcmp(name, XATTR_MARK_USER) == 0;
}

// The calls that take an fd refuse O_PATH ones with EBADF. Those by path take both, but the walk through
// /proc costs several times as much.

int64_t xattr_get(int fd, const char *name, void *buf, size_t size)
{
	ssize_t r = fgetxattr(fd, name, buf, size);
	if (r < 0 && errno == EBADF)
		r = getxattr(fd_path(fd).text, name, buf, size);
	return r < 0 ? -errno : r;
}

int xattr_set(int fd, const char *name, const void *value, size_t size, int flags)
{
	int r = fsetxattr(fd, name, value, size, flags);
	if (r < 0 && errno == EBADF)
		r = setxattr(fd_path(fd).text, name, value, size, flags);
	return r < 0 ? -errno : 0;
}

int64_t xattr_list(int fd, char *buf, size_t size)
{
	ssize_t r = flistxattr(fd, buf, size);
	if (r < 0 && errno == EBADF)
		r = listxattr(fd_path(fd).text, buf, size);
	return r < 0 ? -errno : r;
}

int xattr_remove(int fd, const char *name)
{
	int r = fremovexattr(fd, name);
	if (r < 0 && errno == EBADF)
		r = removexattr(fd_path(fd).text, name);
	return r < 0 ? -errno : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Points @ret at the names in @list that are not ours, sorted, and returns how many.
static size_t sort_names(const char *list, int64_t size, const char **ret)
{
	size_t count = 0;

	for (const char *p = list; p < list + size; p += strlen(p) + 1)
		if (!xattr_is_ours(p))
			ret[count++] = p;
	qsort(ret, count, sizeof(*ret), by_name);
	return count;
}

static int append(struct xattr_set *s, size_t *room, const void *data, size_t size)
{
	if (s->size + size > *room) {
		size_t larger = (s->size + size) * 2;
		char *grown = realloc(s->data, larger);
		if (!grown)
			return -ENOMEM;
		s->data = grown;
		*room = larger;
	}
	memcpy(s->data + s->size, data, size);
	s->size += size;
	return 0;
}

static int append_one(int fd, const char *name, char *value, size_t most, struct xattr_set *s, size_t *room)
{
	int64_t got = xattr_get(fd, name, value, XATTR_SIZE_MAX);
	if (got == -ENODATA)  // removed since it was listed
		return 0;
	if (got < 0)
		return (int)got;

	uint32_t size = (uint32_t)got;
	if (s->size + strlen(name) + 1 + sizeof(size) + size > most)
		return -E2BIG;
	int r = append(s, room, name, strlen(name) + 1);
	if (r == 0)
		r = append(s, room, &size, sizeof(size));
	if (r == 0)
		r = append(s, room, value, size);
	return r;
}

static bool is_ours_alone(const char *list, int64_t size)
{
	const char *p = list;

	while (p < list + size && xattr_is_ours(p))
		p += strlen(p) + 1;
	return p == list + size;
}

static int read_listed(int fd, const char *list, int64_t size, size_t most, struct xattr_set *s)
{
	if (is_ours_alone(list, size))  // every object
		return 0;
	// A name takes two bytes at least.
	auto_free const char **names = malloc(((size_t)size / 2 + 1) * sizeof(*names));
	auto_free char *value = malloc(XATTR_SIZE_MAX);
	size_t room = 0;
	int r = 0;

	if (!names || !value)
		return -ENOMEM;
	size_t count = sort_names(list, size, names);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = append_one(fd, names[i], value, most, s, &room);
	return r;
}

static int read_up_to(int fd, size_t most, struct xattr_set *ret)
{
	char list[1024];
	*ret = (struct xattr_set){ 0 };

	int64_t size = xattr_list(fd, list, sizeof(list));
	if (size == 0 || size == -EOPNOTSUPP)
		return 0;
	if (size > 0)
		size = read_listed(fd, list, size, most, ret);
	else if (size == -ERANGE) {
		auto_free char *all = malloc(XATTR_LIST_MAX);
		size = all ? xattr_list(fd, all, XATTR_LIST_MAX) : -ENOMEM;
		if (size > 0)
			size = read_listed(fd, all, size, most, ret);
	}
	if (size < 0)
		xattr_free(ret);
	return (int)size;
}

int xattr_read(int fd, struct xattr_set *ret)
{
	return read_up_to(fd, XATTR_SET_MAX, ret);
}

int xattr_read_all(int fd, struct xattr_set *ret)
{
	return read_up_to(fd, SIZE_MAX, ret);
}

void xattr_free(struct xattr_set *s)
{
	free(s->data);
	*s = (struct xattr_set){ 0 };
}

int xattr_dup(const struct xattr_set *s, struct xattr_set *ret)
{
	struct xattr_set copy = { .size = s->size };

	if (s->size > 0) {
		copy.data = malloc(s->size);
		if (!copy.data)
			return -ENOMEM;
		memcpy(copy.data, s->data, s->size);
	}
	*ret = copy;
	return 0;
}

bool xattr_equal(const struct xattr_set *a, const struct xattr_set *b)
{
	return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

bool xattr_same(int fd, const struct xattr_set *expected)
{
	struct xattr_set now;

	if (xattr_read(fd, &now) < 0)
		return false;
	bool same = xattr_equal(expected, &now);
	xattr_free(&now);
	return same;
}

// One record of a set.
struct record {
	char *name;
	char *value;
	uint32_t size;
};

// The record at @p.
static struct record record_at(char *p)
{
	struct record r = { .name = p };
	p += strlen(p) + 1;
	memcpy(&r.size, p, sizeof(r.size));
	r.value = p + sizeof(r.size);
	return r;
}

struct xattr_set xattr_find(const struct xattr_set *s, const char *name)
{
	struct record r;

	for (char *p = s->data; p < s->data + s->size; p = r.value + r.size) {
		r = record_at(p);
		if (strcmp(r.name, name) == 0)
			return (struct xattr_set){ p, (size_t)(r.value + r.size - p) };
	}
	return (struct xattr_set){ 0 };
}

int xattr_write(int fd, const struct xattr_set *s)
{
	struct record r;

	for (char *p = s->data; p < s->data + s->size; p = r.value + r.size) {
		r = record_at(p);
		int e = xattr_set(fd, r.name, r.value, r.size, 0);
		if (e < 0)
			return e;
	}
	return 0;
}
