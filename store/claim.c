#include "store/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

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

int claim_holds(const struct claim *c, bool names_moved)
{
	struct stat now;

	// While a writer waits for us in open(2) this says F_UNLCK already.
	int lease = fcntl(c->fd, F_GETLEASE);
	if (lease < 0 || fstat(c->fd, &now) < 0)
		return -errno;
	if (lease != F_RDLCK)
		return 0;
	return now.st_ino == c->st.st_ino && now.st_dev == c->st.st_dev && now.st_size == c->st.st_size &&
	       now.st_mode == c->st.st_mode && now.st_uid == c->st.st_uid && now.st_gid == c->st.st_gid &&
	       same_time(now.st_mtim, c->st.st_mtim) &&
	       (names_moved || same_time(now.st_ctim, c->st.st_ctim));
}

void claim_drop(struct claim *c)
{
	fcntl(c->fd, F_SETLEASE, F_UNLCK);
}
