#include "store/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <time.h>

#include "store/base/cleanup.h"
#include "store/base/clock.h"

void claim_init(void)
{
	// We ask by F_GETLEASE when it matters; the signal would end the process (SIGIO's default).
	signal(SIGIO, SIG_IGN);
}

int claim_take(int fd, struct claim *ret)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return -errno;

	struct claim c = { .fd = fd };
	if (fstat(fd, &c.st) < 0) {
		int r = -errno;
		claim_drop(&c);
		return r;
	}
	*ret = c;
	return 0;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_as_claimed(const struct stat *st, const struct stat *now, bool names_moved)
{
	return now->st_ino == st->st_ino && now->st_dev == st->st_dev && now->st_size == st->st_size &&
	       now->st_mode == st->st_mode && now->st_uid == st->st_uid && now->st_gid == st->st_gid &&
	       same_time(now->st_mtim, st->st_mtim) &&
	       (names_moved || (same_time(now->st_ctim, st->st_ctim) && now->st_nlink == st->st_nlink));
}

// While a writer waits for us in open(2) this says F_UNLCK already.
static int lease_of(const struct claim *c)
{
	int lease = fcntl(c->fd, F_GETLEASE);
	return lease < 0 ? -errno : lease;
}

bool claim_is_broken(const struct claim *c)
{
	return lease_of(c) != F_RDLCK;
}

int claim_holds_as(const struct claim *c, const struct stat *now, bool names_moved)
{
	int lease = lease_of(c);
	if (lease < 0)
		return lease;
	return lease == F_RDLCK && is_as_claimed(&c->st, now, names_moved);
}

int claim_holds(const struct claim *c, bool names_moved)
{
	struct stat now;

	// The lease last: what is written after our look at the file has broken it.
	if (fstat(c->fd, &now) < 0)
		return -errno;
	return claim_holds_as(c, &now, names_moved);
}

// No claim lasts longer.
#define DAY ((time_t)24 * 60 * 60)

bool claim_may_end_unseen(const struct claim *c)
{
	const struct timespec mtime = c->st.st_mtim;

	if (mtime.tv_nsec != 0 || c->st.st_ctim.tv_nsec != 0)
		return false;
	return mtime.tv_sec - DAY < time(NULL) && !clock_is_over(mtime);
}

void claim_drop(struct claim *c)
{
	fcntl(c->fd, F_SETLEASE, F_UNLCK);
}

int claim_retake(const struct claim *c, bool *ret_shared)
{
	struct claim again = { 0 };

	// A write lease is had where nobody else has the file open, and then nobody writes it either.
	*ret_shared = fcntl(c->fd, F_SETLEASE, F_WRLCK) < 0;
	int r = 0;
	if (*ret_shared)
		r = claim_take(c->fd, &again);
	else if (fstat(c->fd, &again.st) < 0)
		r = -errno;
	if (r == -EAGAIN)
		return 0;
	return r < 0 ? r : is_as_claimed(&c->st, &again.st, false);
}

bool claim_is_locked(const struct claim *c)
{
	struct flock any = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (flock(c->fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK;
	flock(c->fd, LOCK_UN);
	return fcntl(c->fd, F_OFD_GETLK, &any) == 0 && any.l_type != F_UNLCK;
}

void claim_end(struct claim *c)
{
	if (c->fd >= 0)
		fd_close(take_fd(&c->fd));
}
