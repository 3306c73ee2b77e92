#include "store/exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/sys.h"
#include "store/store.h"
#include "store/tmp.h"

int exchange_log_open(struct store *s, const char *worker, struct exchange_log *ret)
{
	*ret = EXCHANGE_LOG_NONE;
	if (!s->is_btrfs)
		return 0;
	ret->dir = openat(s->tmp, *worker ? worker : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return ret->dir < 0 ? -errno : 0;
}

void exchange_log_close(struct exchange_log *l)
{
	cleanup_close(&l->dir);
}

// fsync(2) logs nothing of a directory that has not changed in this transaction.
static int log_now(const struct exchange_log *l)
{
	const struct timespec now[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };
	return futimens(l->dir, now) < 0 || fsync(l->dir) < 0 ? -errno : 0;
}

// The transaction may end while the directory is being logged, which is of no use then.
static int log_in_this(struct exchange_log *l)
{
	uint64_t generation;

	int r = sys_btrfs_generation(l->dir, &generation);
	while (r == 0 && generation != l->generation) {
		l->generation = generation;
		r = log_now(l);
		if (r == 0)
			r = sys_btrfs_generation(l->dir, &generation);
	}
	if (r < 0)
		l->generation = 0;
	return r;
}

// Has the transaction ended since? Then it may have come to that, if @dir was logged in the new one.
static int log_after(const struct exchange_log *l, int dir)
{
	uint64_t generation;

	int r = sys_btrfs_generation(l->dir, &generation);
	if (r < 0 || generation == l->generation)
		return r;
	return fsync(dir) < 0 ? -errno : 0;
}

int exchange(struct store *s, struct exchange_log *l, const char *tmp, int dir, const char *name)
{
	int r = l->dir < 0 ? 0 : log_in_this(l);
	if (r < 0)
		return r;
	if (renameat2(s->tmp, tmp, dir, name, RENAME_EXCHANGE) < 0)
		return -errno;
	if (l->dir >= 0)
		log_after(l, dir);  // it has happened, whatever this says
	return 0;
}

int exchange_once(struct store *s, const char *tmp, int dir, const char *name)
{
	char worker[TMP_NAME_SIZE];
	struct exchange_log l;
	const char *slash = strrchr(tmp, '/');

	snprintf(worker, sizeof(worker), "%.*s", slash ? (int)(slash - tmp) : 0, tmp);
	int r = exchange_log_open(s, worker, &l);
	if (r == 0)
		r = exchange(s, &l, tmp, dir, name);
	exchange_log_close(&l);
	return r;
}
