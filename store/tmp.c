#include "store/tmp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/dir.h"
#include "store/base/fd.h"
#include "store/store.h"

static const char worker_prefix[] = "worker-";

static bool is_directory(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

void tmp_worker_make(struct store *s, unsigned worker, char ret[TMP_WORKER_SIZE])
{
	snprintf(ret, TMP_WORKER_SIZE, "%s%u", worker_prefix, worker);
	bool made = mkdirat(s->tmp, ret, 0700) == 0 || is_directory(s->tmp, ret);
	if (made)
		snprintf(ret, TMP_WORKER_SIZE, "%s%u/", worker_prefix, worker);
	else
		*ret = '\0';
}

void tmp_worker_remove(struct store *s, const char *worker)
{
	if (*worker)
		unlinkat(s->tmp, worker, AT_REMOVEDIR);
}

struct visit {
	const char *worker;  // whose directory it is; NULL: tmp/ itself
	int (*each)(const char *name, void *arg);
	void *arg;
};

static bool is_worker(const struct dirent64 *e)
{
	return (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN) &&
	       strncmp(e->d_name, worker_prefix, sizeof(worker_prefix) - 1) == 0;
}

static int visit(int dir, const struct dirent64 *e, void *arg)
{
	const struct visit *v = arg;
	char path[2 * NAME_MAX + 2];

	if (!v->worker && is_worker(e)) {
		struct visit inside = { e->d_name, v->each, v->arg };
		int r = dir_each(dir, e->d_name, visit, &inside);
		if (r != -ENOTDIR && r != -ELOOP)
			return r;
	}
	snprintf(path, sizeof(path), "%s%s%s", v->worker ? v->worker : "", v->worker ? "/" : "", e->d_name);
	return v->each(path, v->arg);
}

static int remove_if_worker(int dir, const struct dirent64 *e, void *arg)
{
	(void)arg;
	if (is_worker(e))
		unlinkat(dir, e->d_name, AT_REMOVEDIR);
	return 0;
}

void tmp_worker_remove_all(struct store *s)
{
	dir_each(s->tmp, ".", remove_if_worker, NULL);
}

int tmp_each(struct store *s, int (*each)(const char *name, void *arg), void *arg)
{
	return dir_each(s->tmp, ".", visit, &(struct visit){ NULL, each, arg });
}

int tmp_open(struct store *s)
{
	int fd = openat(s->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

// Unique in this process by the counter; a dead one's left-over may have had our pid.
static void next_name(char ret[TMP_NAME_SIZE])
{
	static atomic_uint_fast64_t last;

	snprintf(ret, TMP_NAME_SIZE, "copy-%d-%" PRIu64, (int)getpid(), (uint64_t)atomic_fetch_add(&last, 1));
}

int tmp_link(struct store *s, int fd, char ret[TMP_NAME_SIZE])
{
	int r;

	do {
		next_name(ret);
		r = fd_link(fd, s->tmp, ret);
	} while (r == -EEXIST);
	return r;
}

int tmp_whiteout(struct store *s, int dir, const char *name)
{
	const unsigned flags = RENAME_NOREPLACE | RENAME_WHITEOUT;
	char tmp[TMP_NAME_SIZE];
	int r;

	do {
		next_name(tmp);
		r = renameat2(dir, name, s->tmp, tmp, flags) < 0 ? -errno : 0;
	} while (r == -EEXIST);
	if (r == 0)
		tmp_remove(s, tmp);  // what stays there, recovery removes
	return r;
}

int tmp_remove(struct store *s, const char *name)
{
	return unlinkat(s->tmp, name, 0) < 0 ? -errno : 0;
}
