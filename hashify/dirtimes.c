#include "hashify/dirtimes.h"

#include "store/base/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

void dirtimes_init(struct dirtimes *d)
{
	*d = (struct dirtimes){ 0 };
	mutex_init(&d->lock);
}

void dirtimes_destroy(struct dirtimes *d)
{
	mutex_destroy(&d->lock);
}

// The entry of @key, or a free one.
static int find(const struct dirtimes *d, uint64_t key)
{
	int unused = -1;
	for (int i = 0; i < DIRTIMES_USERS; i++) {
		if (d->entries[i].users > 0 && d->entries[i].key == key)
			return i;
		if (d->entries[i].users == 0)
			unused = i;
	}
	assert(unused >= 0);
	return unused;
}

int dirtimes_enter(struct dirtimes *d, const struct tree_file *f, int dir)
{
	uint64_t key = (uint64_t)f->guest << 32 | f->dir;
	auto_unlock pthread_mutex_t *held = mutex_hold(&d->lock);
	int i = find(d, key);
	struct dirtimes_entry *e = &d->entries[i];
	if (e->users == 0) {
		struct stat st;
		if (fstat(dir, &st) < 0)
			return -errno;
		*e = (struct dirtimes_entry){ .key = key, .mtime = st.st_mtim };
	}
	e->users++;
	return i;
}

void dirtimes_leave(struct dirtimes *d, int entry, int dir)
{
	struct dirtimes_entry *e = &d->entries[entry];
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, e->mtime };

	// Before we are counted out: who comes later must not take the moved time for the true one. Who is
	// not the owner of the directory may not do this; then its mtime tells that something was linked in
	// it.
	futimens(dir, times);
	auto_unlock pthread_mutex_t *held = mutex_hold(&d->lock);
	e->users--;
}
