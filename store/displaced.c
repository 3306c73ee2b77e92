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
#include "store/store.h"

void displaced_name_print(const struct object_key *key, unsigned worker, uint64_t number,
			  char ret[TMP_NAME_SIZE])
{
	char object[OBJECT_NAME_SIZE];

	object_name_print(key, object);
	snprintf(ret, TMP_NAME_SIZE, "%s.%u.%" PRIu64, object, worker, number);
}

int displaced_name_parse(const char *name, struct object_key *ret)
{
	char object[OBJECT_NAME_SIZE];
	const char *dot = strchr(name, '.');

	if (!dot || (size_t)(dot - name) >= sizeof(object))
		return -EINVAL;
	memcpy(object, name, (size_t)(dot - name));
	object[dot - name] = '\0';
	return object_name_parse(object, ret);
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

int displaced_put_back_at(struct store *s, const char *tmp, int dir, const char *name, uint64_t object)
{
	int r = is_inode(dir, name, object);
	if (r <= 0)
		return r < 0 ? r : PLACE_TAKEN;
	r = exchange(s, tmp, dir, name);
	if (r < 0)
		return r == -ENOENT ? PLACE_TAKEN : r;

	r = is_inode(s->tmp, tmp, object);
	if (r > 0)
		return unlinkat(s->tmp, tmp, 0) < 0 ? -errno : PUT_BACK;
	if (r < 0)
		return r;

	// Between our look and the exchange the guest gave the name another file: that one belongs there.
	r = exchange(s, tmp, dir, name);
	return r < 0 ? r : PLACE_TAKEN;
}

static int open_directory(int pool, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	*ret_name = slash ? slash + 1 : path;
	if (!slash || slash == path || (size_t)(slash - path) >= sizeof(dir))
		return -EINVAL;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	return beneath_open(pool, dir, O_RDONLY | O_DIRECTORY, 0);
}

int displaced_put_back(struct store *s, const char *tmp, const char *path, uint64_t object)
{
	struct stat st;
	const char *name;

	auto_close int pool = openat(s->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool < 0)
		return -errno;
	auto_close int dir = open_directory(pool, path, &name);
	if (dir < 0)
		return dir == -EINVAL ? dir : PLACE_TAKEN;
	if (fstat(dir, &st) < 0)
		return -errno;

	int r = displaced_put_back_at(s, tmp, dir, name, object);
	const struct timespec times[2] = { st.st_atim, st.st_mtim };
	if (r == PUT_BACK)
		futimens(dir, times);
	return r;
}

int displaced_keep(struct store *s, const char *tmp)
{
	char kept[TMP_NAME_SIZE + sizeof("kept-")];

	snprintf(kept, sizeof(kept), "kept-%s", tmp);
	return renameat2(s->tmp, tmp, s->tmp, kept, RENAME_NOREPLACE) < 0 ? -errno : 0;
}
