#include "store/mark.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/xattr.h"

#define MARK_SIZE (2 + 21 + OBJECT_NAME_SIZE)

static const char *xattr_name(enum mark_space space)
{
	return space == MARK_TRUSTED ? XATTR_MARK_TRUSTED : XATTR_MARK_USER;
}

// What a guest may have written, where marks are in user.
static int parse(const char *text, struct object_key *ret, uint64_t *ret_ino)
{
	char *end;

	if (strncmp(text, "1 ", 2) != 0 || text[2] < '0' || text[2] > '9')
		return -ENODATA;
	errno = 0;
	*ret_ino = strtoull(text + 2, &end, 10);
	if (errno != 0 || *end != ' ' || object_name_parse(end + 1, ret) < 0)
		return -ENODATA;
	return 0;
}

int mark_read(enum mark_space space, int fd, const struct stat *st, struct object_key *ret)
{
	char text[MARK_SIZE + 1];
	struct object_key key;
	uint64_t ino;

	int64_t size = xattr_get(fd, xattr_name(space), text, MARK_SIZE);
	if (size == -ERANGE || size == -EOPNOTSUPP)
		return -ENODATA;
	if (size < 0)
		return (int)size;
	text[size] = '\0';
	if (parse(text, &key, &ino) < 0 || ino != st->st_ino)
		return -ENODATA;
	*ret = key;
	return 0;
}

int mark_is_link(enum mark_space space, int fd, const struct stat *st)
{
	struct object_key key;

	if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
		return 0;
	int r = mark_read(space, fd, st, &key);
	if (r == -ENODATA)
		return 0;
	return r < 0 ? r : 1;
}

int mark_write(enum mark_space space, int fd, const struct stat *st, const struct object_key *key)
{
	char text[MARK_SIZE + 1], name[OBJECT_NAME_SIZE];

	object_name_print(key, name);
	int size = snprintf(text, sizeof(text), "1 %" PRIu64 " %s", (uint64_t)st->st_ino, name);
	return xattr_set(fd, xattr_name(space), text, (size_t)size, 0);
}

int mark_remove(enum mark_space space, int fd)
{
	int r = xattr_remove(fd, xattr_name(space));
	return r == -ENODATA ? 0 : r;
}
