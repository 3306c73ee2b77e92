#include "hashify/place.h"

#include "hashify/guests.h"
#include "hashify/text.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/log.h"
#include "store/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40

// Where a path leads. Links are followed as far as the guest's directory, where who made them knew what he
// meant; a guest's own may lead into other guests, or out of the pool.
struct way {
	char *at;          // owned: absolute, without links
	char *pool;        // owned: the path of the pool that this is in; NULL: in none
	char *text;        // owned: of what is to be followed yet
	const char *rest;  // in that
	unsigned links;
};

static void way_free(struct way *w)
{
	free(w->at);
	free(w->pool);
	free(w->text);
}

static bool is_below_pool(const struct way *w)
{
	return w->pool && strlen(w->at) > strlen(w->pool);
}

// Takes @at. The outermost pool counts.
static int arrive(struct way *w, char *at, bool is_dir)
{
	free(w->at);
	w->at = at;
	if (!at)
		return -ENOMEM;
	if (w->pool || !is_dir)
		return 0;
	auto_close int fd = pool_find(at, &w->pool);
	return fd >= 0 || fd == -ENODATA ? 0 : fd;
}

static int begin_at_root(struct way *w)
{
	free(w->pool);
	w->pool = NULL;
	return arrive(w, strdup("/"), true);
}

static void go_up(struct way *w)
{
	char *slash = strrchr(w->at, '/');
	slash[slash == w->at] = '\0';
	if (w->pool && strlen(w->at) < strlen(w->pool)) {
		free(w->pool);
		w->pool = NULL;
	}
}

static int follow_link(struct way *w, const char *link)
{
	char target[PATH_MAX];
	char *text;

	if (++w->links > LINKS_MAX)
		return -ELOOP;
	ssize_t size = readlink(link, target, sizeof(target));
	if (size < 0)
		return -errno;
	if (asprintf(&text, "%.*s%s", (int)size, target, w->rest) < 0)
		return -ENOMEM;
	free(w->text);
	w->rest = w->text = text;
	return *text == '/' ? begin_at_root(w) : 0;
}

// Goes on to @name in the directory that it is at. What the whole path names in a guest is not followed.
static int enter(struct way *w, const char *name, size_t len)
{
	struct stat st;
	char *next;
	if (asprintf(&next, "%s/%.*s", strcmp(w->at, "/") == 0 ? "" : w->at, (int)len, name) < 0)
		return -ENOMEM;
	auto_free char *own = next;
	if (lstat(next, &st) < 0)
		return -errno;
	bool is_last = *w->rest == '\0';
	if (S_ISLNK(st.st_mode) && !is_below_pool(w))
		return follow_link(w, next);
	if (S_ISLNK(st.st_mode) && !is_last)
		return -EMLINK;
	if (!S_ISDIR(st.st_mode) && !is_last)
		return -ENOTDIR;
	own = NULL;
	return arrive(w, next, S_ISDIR(st.st_mode));
}

// -EMLINK: through a guest's link.
static int go(struct way *w)
{
	int r = begin_at_root(w);
	while (r == 0) {
		const char *name = w->rest + strspn(w->rest, "/");
		size_t len = strcspn(name, "/");
		if (len == 0)
			break;
		w->rest = name + len;
		if (len == 2 && memcmp(name, "..", 2) == 0)
			go_up(w);
		else if (len != 1 || *name != '.')
			r = enter(w, name, len);
	}
	return r;
}

static int find(const char *path, struct way *w)
{
	auto_free char *here = *path == '/' ? strdup("") : getcwd(NULL, 0);
	if (!here)
		return -errno;
	if (*path == '\0')
		return -ENOENT;
	if (asprintf(&w->text, "%s/%s", here, path) < 0) {
		w->text = NULL;
		return -ENOMEM;
	}
	w->rest = w->text;
	return go(w);
}

static bool is_in_guest(const char *path)
{
	auto_free char *guest = strndup(path, strcspn(path, "/"));
	return guest && guests_may_be(guest);
}

static bool is_directory(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int say(const char *path, const char *what)
{
	auto_free char *printable = text_printable(path);
	log_error("%s: %s", printable ? printable : "", what);
	return -1;
}

static int say_wrong_way(const char *path, int err)
{
	if (err == -EMLINK)
		return say(path,
			   "leads through a symbolic link of a guest, which may lead anywhere; expected a "
			   "path without any below the guest's directory; name where that file really is");
	if (err == -ENOTDIR)
		return say(
			path,
			"leads through what is no directory; expected the path of a file without a slash at "
			"its end, or one of which all above is a directory");
	if (err == -ENOENT)
		return say(
			path,
			"does not exist; expected a file or directory in a guest of a pool; check the path");
	return say(path, strerror(-err));
}

// Where @w has led to.
static int open_at(const char *path, struct way *w, enum openpool_mode mode, struct place *ret)
{
	struct place p = { 0 };
	if (!w->pool)
		return say(path, "lies in no pool; expected a path in a directory that was hashified, not in "
				 "a mount of it");
	const char *rest = w->at + strlen(w->pool);
	rest += *rest == '/';
	if (*rest && (!is_in_guest(rest) || (!strchr(rest, '/') && !is_directory(w->at))))
		return say(path, "belongs to no guest; expected a path in one of the pool's guests");
	p.path = strdup(rest);
	if (!p.path)
		return say(path, strerror(ENOMEM));
	if (openpool_with_store(w->pool, mode, &p.pool) < 0) {
		free(p.path);
		return -1;
	}
	p.pool_path = w->pool;
	w->pool = NULL;
	*ret = p;
	return 0;
}

int place_open(const char *path, enum openpool_mode mode, struct place *ret)
{
	struct way w = { 0 };
	int r = find(path, &w);
	r = r < 0 ? say_wrong_way(path, r) : open_at(path, &w, mode, ret);
	way_free(&w);
	return r;
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
