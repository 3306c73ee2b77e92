#include "hashify/place.h"

#include "hashify/guests.h"
#include "hashify/text.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/log.h"
#include "store/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// The absolute path of what @path names, be it a symbolic link.
static char *absolute(const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return NULL;
	if (S_ISDIR(st.st_mode))
		return realpath(path, NULL);
	const char *slash = strrchr(path, '/');
	auto_free char *parent = slash ? strndup(path, (size_t)(slash - path + 1)) : strdup(".");
	auto_free char *whole = parent ? realpath(parent, NULL) : NULL;
	char *ret = NULL;
	if (!whole ||
	    asprintf(&ret, "%s/%s", strcmp(whole, "/") == 0 ? "" : whole, slash ? slash + 1 : path) < 0)
		return NULL;
	return ret;
}

// The pool's path: of the outermost store above @whole, which need not be a directory.
static char *find_pool(const char *whole)
{
	struct stat st;
	auto_free char *dir = strdup(whole);
	if (!dir || lstat(whole, &st) < 0)
		return NULL;
	if (!S_ISDIR(st.st_mode))
		*strrchr(dir, '/') = '\0';
	char *pool = NULL;
	auto_close int fd = pool_find(*dir ? dir : "/", &pool);
	if (fd < 0)
		errno = -fd;
	return pool;
}

static bool is_in_guest(const char *path)
{
	auto_free char *guest = strndup(path, strcspn(path, "/"));
	return guest && guests_may_be(guest);
}

static int say(const char *path, const char *what)
{
	auto_free char *printable = text_printable(path);
	log_error("%s: %s", printable ? printable : "", what);
	return -1;
}

int place_open(const char *path, enum openpool_mode mode, struct place *ret)
{
	struct place p = { 0 };
	auto_free char *whole = absolute(path);
	if (!whole)
		return say(path, strerror(errno));
	auto_free char *pool = find_pool(whole);
	if (!pool && errno == ENODATA)
		return say(path, "lies in no pool; expected a path in a directory that was hashified, not in "
				 "a mount of it");
	if (!pool)
		return say(path, strerror(errno));

	const char *rest = whole + strlen(pool);
	rest += *rest == '/';
	if (*rest && !is_in_guest(rest))
		return say(path, "belongs to no guest; expected a path in one of the pool's guests");
	p.path = strdup(rest);
	if (!p.path)
		return say(path, strerror(ENOMEM));
	if (openpool_with_store(pool, mode, &p.pool) < 0) {
		free(p.path);
		return -1;
	}
	p.pool_path = pool;
	pool = NULL;
	*ret = p;
	return 0;
}

void place_close(struct place *p)
{
	openpool_close(&p->pool);
	free(p->pool_path);
	free(p->path);
}

int place_open_parent(const struct place *p, const char **ret_name)
{
	const char *slash = strrchr(p->path, '/');
	if (!slash)
		return -EINVAL;
	auto_free char *dir = strndup(p->path, (size_t)(slash - p->path));
	*ret_name = slash + 1;
	return dir ? beneath_open(p->pool.dir, dir, O_RDONLY | O_DIRECTORY, 0) : -ENOMEM;
}
