#include "hashify/durable.h"

#include "store/base/cleanup.h"
#include "store/base/clock.h"
#include "store/base/sys.h"
#include "store/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t clock_offset(void)
{
	return clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
}

// Its mtime is when writing back failed. It need not outlive the page cache, so it is never flushed.
static const char failed_name[] = "write-failed";

// When writing back fails, the disk may be full, and no file can be made. So it is there before, as of 1970.
// Where it cannot be made now, it is tried again then. Who is killed in between costs later passes time.
static void make_note(int store)
{
	const struct timespec never[2] = { { 0 } };
	auto_close int fd = openat(store, failed_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
				   0600);
	if (fd >= 0)
		futimens(fd, never);
}

void durable_init(struct durable *d, int store)
{
	struct stat st;

	d->clock_offset = clock_offset();
	d->store = store;
	if (d->wanted && store >= 0)
		make_note(store);
	d->is_unsure = store >= 0 && fstatat(store, failed_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		       clock_latest(st.st_mtim) >= d->clock_offset - CLOCK_MARGIN;
	mutex_init(&d->flushing);
}

void durable_destroy(struct durable *d)
{
	mutex_destroy(&d->flushing);
}

static int note(int store)
{
	auto_close int fd = openat(store, failed_name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 || futimens(fd, NULL) < 0 ? -errno : 0;
}

static int note_failure(struct durable *d)
{
	d->is_unsure = true;
	return note(d->store);
}

int durable_sync(int pool, int store)
{
	if (syncfs(pool) == 0)
		return 0;
	int err = -errno;
	note(store);
	return err;
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
	d->error = durable_sync(pool, d->store);
	if (d->error < 0)
		d->is_unsure = true;
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

int durable_make(struct durable *d, const struct claim *c)
{
	if (!d->wanted)
		return 0;
	bool durable = is_durable(d, c);
	// Waits for nothing, but tells of an error that nobody has been told of yet.
	int r = durable ? sync_file_range(c->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE) : fdatasync(c->fd);
	if (r == 0)
		return 0;
	int err = -errno;
	r = note_failure(d);
	return r < 0 || !durable ? err : 0;  // what the disk has, the caller is going to see
}

static bool is_unsure(const struct durable *d, const struct stat *st)
{
	return d->is_unsure && clock_latest(st->st_ctim) >= d->clock_offset - CLOCK_MARGIN;
}

bool durable_may_drop(struct durable *d, const struct claim *c)
{
	const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

	if (sync_file_range(c->fd, 0, 0, all) < 0)
		note_failure(d);
	return !is_unsure(d, &c->st);
}

bool durable_is_unsure(const struct durable *d, const struct stat *st)
{
	return d->wanted && is_unsure(d, st);
}

bool durable_settled(const struct durable *d, const struct stat *st)
{
	return clock_is_steady(d) && clock_is_over(st->st_ctim);
}
