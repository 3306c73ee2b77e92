#include "hashify/durable.h"

#include "store/base/cleanup.h"
#include "store/base/clock.h"
#include "store/base/sys.h"
#include "store/claim.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int64_t clock_offset(void)
{
	return clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
}

void durable_init(struct durable *d)
{
	d->clock_offset = clock_offset();
	mutex_init(&d->flushing);
}

void durable_destroy(struct durable *d)
{
	mutex_destroy(&d->flushing);
}

// A store to a mapping moves ctime when its page was clean, and the flush leaves them all clean.
int durable_flush(struct durable *d, int pool)
{
	if (!d->wanted || atomic_load_explicit(&d->flushed, memory_order_acquire))
		return 0;
	auto_unlock pthread_mutex_t *held = mutex_hold(&d->flushing);
	if (d->error < 0 || d->flushed)
		return d->error;
	d->till = clock_ns(CLOCK_REALTIME_COARSE) - CLOCK_MARGIN;
	if (syncfs(pool) < 0)
		d->error = -errno;
	else
		atomic_store_explicit(&d->flushed, true, memory_order_release);
	return d->error;
}

// If somebody has set the clock back meanwhile, ctimes say nothing.
static bool clock_is_steady(const struct durable *d)
{
	return llabs(clock_offset() - d->clock_offset) <= CLOCK_MARGIN / 10;
}

// A write(2) moves the ctime when it begins, and may have brought its last bytes after the flush. Before
// Linux 6.5 the kernel does not tell: none takes longer than this.
#define LONGEST_WRITE (3600 * INT64_C(1000000000))

static bool is_durable(const struct durable *d, const struct claim *c)
{
	if (!clock_is_steady(d) || clock_latest(c->st.st_ctim) >= d->till)
		return false;
	int64_t unwritten = sys_unwritten_pages(c->fd, (uint64_t)c->st.st_size);
	return unwritten == 0 || (unwritten < 0 && clock_latest(c->st.st_ctim) < d->till - LONGEST_WRITE);
}

int durable_make(const struct durable *d, const struct claim *c)
{
	if (!d->wanted || is_durable(d, c))
		return 0;
	return fdatasync(c->fd) < 0 ? -errno : 0;
}

bool durable_may_have_failed(const struct durable *d, const struct stat *st)
{
	return d->wanted && clock_latest(st->st_ctim) >= d->clock_offset - CLOCK_MARGIN;
}

bool durable_settled(const struct durable *d, const struct stat *st)
{
	return clock_is_steady(d) && clock_is_over(st->st_ctim);
}
