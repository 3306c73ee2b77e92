#include "store/mark.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/cleanup.h"
#include "store/xattr.h"

// "1 ", twenty digits, a space, the digest.
#define MARK_SIZE (2 + 20 + 1 + 32)

static const char *xattr_name(enum mark_space space)
{
	return space == MARK_TRUSTED ? XATTR_MARK_TRUSTED : XATTR_MARK_USER;
}

// Reads 16 hexadecimal digits.
static bool parse_word(const char *text, uint64_t *ret)
{
	*ret = 0;
	for (int i = 0; i < 16; i++) {
		char c = text[i];
		if (c >= '0' && c <= '9')
			*ret = *ret << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*ret = *ret << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	return true;
}

// What a guest may have written, where marks are in user.
static bool parse(const char *text, struct digest *ret, uint64_t *ret_ino)
{
	char *end;

	if (strncmp(text, "1 ", 2) != 0 || text[2] < '0' || text[2] > '9')
		return false;
	errno = 0;
	*ret_ino = strtoull(text + 2, &end, 10);
	if (errno != 0 || *end != ' ' || strlen(end + 1) != 32)
		return false;
	return parse_word(end + 1, &ret->high) && parse_word(end + 17, &ret->low);
}

int mark_read(enum mark_space space, int fd, const struct stat *st, struct digest *ret)
{
	char text[MARK_SIZE + 1];
	struct digest digest;
	uint64_t ino;

	int64_t size = xattr_get(fd, xattr_name(space), text, MARK_SIZE);
	if (size == -ERANGE || size == -EOPNOTSUPP)
		return -ENODATA;
	if (size < 0)
		return (int)size;
	text[size] = '\0';
	if (!parse(text, &digest, &ino) || ino != st->st_ino)
		return -ENODATA;
	*ret = digest;
	return 0;
}

// An attribute in user. can be read only where the file can, its name everywhere.
static int has_mark(enum mark_space space, int fd)
{
	auto_free char *names = malloc(XATTR_LIST_MAX);
	int64_t size = names ? xattr_list(fd, names, XATTR_LIST_MAX) : -ENOMEM;

	for (const char *p = names; size > 0 && p < names + size; p += strlen(p) + 1)
		if (strcmp(p, xattr_name(space)) == 0)
			return 1;
	return size < 0 ? (int)size : 0;
}

static int is_marked(enum mark_space space, int fd)
{
	int64_t size = xattr_get(fd, xattr_name(space), NULL, 0);
	if (size == -ENODATA || size == -EOPNOTSUPP)
		return 0;
	if (size == -EACCES)
		return has_mark(space, fd);
	return size < 0 ? (int)size : 1;
}

int mark_is_link(enum mark_space space, int fd, const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_nlink > 1 ? is_marked(space, fd) : 0;
}

int mark_write(enum mark_space space, int fd, const struct stat *st, struct digest digest)
{
	char text[MARK_SIZE + 1];

	int size = snprintf(text, sizeof(text), "1 %" PRIu64 " %016" PRIx64 "%016" PRIx64,
			    (uint64_t)st->st_ino, digest.high, digest.low);
	return xattr_set(fd, xattr_name(space), text, (size_t)size, 0);
}

int mark_as_link(enum mark_space space, int fd, const struct stat *st, struct digest digest)
{
	int r = mark_is_link(space, fd, st);
	if (r == 0)
		r = mark_write(space, fd, st, digest);
	return r < 0 ? r : 0;
}

// To remove what is not there needs a right as well.
int mark_remove(enum mark_space space, int fd)
{
	int r = is_marked(space, fd);
	return r > 0 ? xattr_remove(fd, xattr_name(space)) : r;
}
