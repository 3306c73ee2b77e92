#include "store/displaced.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/sys.h"
#include "store/store.h"

void displaced_name_print(const char *dir, const struct object_key *key, unsigned worker, uint64_t number,
			  char ret[TMP_NAME_SIZE])
{
	char object[OBJECT_NAME_SIZE];

	object_name_print(key, object);
	snprintf(ret, TMP_NAME_SIZE, "%s%s.%u.%" PRIu64, dir, object, worker, number);
}

static const char *base_of(const char *name)
{
	const char *slash = strrchr(name, '/');
	return slash ? slash + 1 : name;
}

int displaced_name_parse(const char *name, struct object_key *ret)
{
	char object[OBJECT_NAME_SIZE];
	name = base_of(name);
	const char *dot = strchr(name, '.');

	if (!dot || (size_t)(dot - name) >= sizeof(object))
		return -EINVAL;
	memcpy(object, name, (size_t)(dot - name));
	object[dot - name] = '\0';
	return object_name_parse(object, ret);
}

struct visit {
	int (*each)(const struct object_key *key, void *arg);
	void *arg;
};

static int visit(const char *name, void *arg)
{
	const struct visit *v = arg;
	struct object_key key;
	return displaced_name_parse(name, &key) == 0 ? v->each(&key, v->arg) : 0;
}

int displaced_each(struct store *s, int (*each)(const struct object_key *key, void *arg), void *arg)
{
	return tmp_each(s, visit, &(struct visit){ each, arg });
}

bool displaced_is_transient(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

// 1 if @name is the inode @ino, 0 if it is another or gone.
static int is_inode(int dir, const char *name, uint64_t ino)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return st.st_ino == ino;
}

static int exchange(struct store *s, const char *tmp, int dir, const char *name)
{
	return renameat2(s->tmp, tmp, dir, name, RENAME_EXCHANGE) < 0 ? -errno : 0;
}

// A guest can make its file immutable by a descriptor, and then it cannot be renamed. Takes that off and
// returns the file's fd, with the flags it had; -EPERM: it was none of that.
static int thaw(struct store *s, const char *tmp, unsigned *ret_flags)
{
	struct stat st;

	if (fstatat(s->tmp, tmp, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return -EPERM;  // nothing is to be opened that does something then
	auto_close int fd = openat(s->tmp, tmp, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = sys_thaw(fd, ret_flags);
	return r < 0 ? r : take_fd(&fd);
}

// Calls @step; where that is not permitted, again without what forbids it.
static int with_thawed(struct store *s, const char *tmp,
		       int (*step)(struct store *s, const char *tmp, void *arg), void *arg)
{
	unsigned flags = 0;

	int r = step(s, tmp, arg);
	if (r != -EPERM)
		return r;
	auto_close int fd = thaw(s, tmp, &flags);
	if (fd < 0)
		return r;
	r = step(s, tmp, arg);
	sys_flags_set(fd, flags);
	return r;
}

static int remove_name(struct store *s, const char *tmp, void *arg)
{
	(void)arg;
	return tmp_remove(s, tmp);
}

int displaced_drop(struct store *s, const char *tmp)
{
	return with_thawed(s, tmp, remove_name, NULL);
}

struct place {
	int dir;
	const char *name;
	uint64_t object;
};

static int inode_of(struct store *s, const char *tmp, uint64_t *ret)
{
	struct stat st;

	if (fstatat(s->tmp, tmp, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret = st.st_ino;
	return 0;
}

static int put_back(struct store *s, const char *tmp, void *arg)
{
	const struct place *p = arg;
	uint64_t put = 0, out = 0, expected = p->object;

	int r = is_inode(p->dir, p->name, p->object);
	if (r <= 0)
		return r < 0 ? r : PLACE_TAKEN;
	r = inode_of(s, tmp, &put);
	// A guest may give the name another file at any time. Then that comes out, and belongs there: back it
	// goes, until what comes out is what we put there before.
	while (r == 0) {
		r = exchange(s, tmp, p->dir, p->name);
		if (r == 0)
			r = inode_of(s, tmp, &out);
		if (r < 0 || out == expected || out == p->object)
			break;
		expected = put;
		put = out;
	}
	if (r < 0)
		return r == -ENOENT ? PLACE_TAKEN : r;
	return out == p->object ? displaced_drop(s, tmp) : PLACE_TAKEN;
}

int displaced_put_back_at(struct store *s, const char *tmp, int dir, const char *name, uint64_t object)
{
	struct place place = { dir, name, object };
	return with_thawed(s, tmp, put_back, &place);
}

// The longest beginning of @path that is whole names and that the kernel takes.
static size_t piece_of(const char *path)
{
	size_t length = strlen(path);

	if (length < PATH_MAX)
		return length;
	for (length = PATH_MAX - 1; length > 0 && path[length] != '/'; length--)
		;
	return length;
}

// Opens the directory @path, which has no slash at its end and may be longer than PATH_MAX.
static int open_long(int pool, const char *path)
{
	auto_close int at = -1;

	while (*path) {
		char piece[PATH_MAX];
		size_t length = piece_of(path);

		if (length == 0)
			return -ENAMETOOLONG;
		*(char *)mempcpy(piece, path, length) = '\0';
		int next = beneath_open(at < 0 ? pool : at, piece, O_RDONLY | O_DIRECTORY, 0);
		if (next < 0)
			return next;
		cleanup_close(&at);
		at = next;
		path += length + strspn(path + length, "/");
	}
	return at < 0 ? -EINVAL : take_fd(&at);
}

static int open_directory_of(int pool, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return -EINVAL;

	auto_free char *dir = strndup(path, (size_t)(slash - path));
	*ret_name = slash + 1;
	return dir ? open_long(pool, dir) : -ENOMEM;
}

int displaced_put_back(struct store *s, const char *tmp, const char *path, uint64_t object)
{
	struct stat st;
	const char *name;

	// It was exchanged before, and only the link could not be removed.
	int r = is_inode(s->tmp, tmp, object);
	if (r != 0)
		return r < 0 ? r : displaced_drop(s, tmp);
	auto_close int pool = openat(s->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool < 0)
		return -errno;
	auto_close int dir = open_directory_of(pool, path, &name);
	if (dir < 0)
		return displaced_is_transient(dir) ? dir : PLACE_TAKEN;
	if (fstat(dir, &st) < 0)
		return -errno;

	r = displaced_put_back_at(s, tmp, dir, name, object);
	const struct timespec times[2] = { st.st_atim, st.st_mtim };
	if (r == PUT_BACK)
		futimens(dir, times);
	return r;
}

// The path of @fd below the directory @top, both as the kernel knows them now. -ENOENT: it is not there.
static int path_below(int top, int fd, char ret[PATH_MAX])
{
	char above[PATH_MAX], path[PATH_MAX];

	ssize_t length = readlink(fd_path(top).text, above, sizeof(above) - 1);
	ssize_t whole = readlink(fd_path(fd).text, path, sizeof(path) - 1);
	if (length < 0 || whole < 0)
		return -errno;
	length -= length > 0 && above[length - 1] == '/';
	if (whole <= length || memcmp(path, above, (size_t)length) != 0 || path[length] != '/')
		return -ENOENT;
	path[whole] = '\0';
	memcpy(ret, path + length + 1, (size_t)(whole - length));
	return 0;
}

// A guest that keeps moving it ends with its file kept.
#define FOLLOW_MAX 100

int displaced_put_back_behind(struct store *s, const char *tmp, int link, uint64_t object)
{
	char path[PATH_MAX];
	int r = PLACE_TAKEN;

	auto_close int pool = openat(s->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool < 0)
		return -errno;
	for (int i = 0; i < FOLLOW_MAX && r == PLACE_TAKEN; i++) {
		if (path_below(pool, link, path) < 0)
			return PLACE_TAKEN;
		r = displaced_put_back(s, tmp, path, object);
	}
	return r;
}

static int rename_to_kept(struct store *s, const char *tmp, void *arg)
{
	char kept[sizeof("kept--4294967295") + TMP_NAME_SIZE];

	(void)arg;
	// A pass before may have kept another file of that name.
	for (unsigned number = 0;; number++) {
		snprintf(kept, sizeof(kept), "kept-%s-%u", base_of(tmp), number);
		if (renameat2(s->tmp, tmp, s->tmp, kept, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
}

int displaced_keep(struct store *s, const char *tmp)
{
	return with_thawed(s, tmp, rename_to_kept, NULL);
}
