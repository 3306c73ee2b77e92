#include "hashify/dirtimes.h"

#include "store/base/map.h"
#include "store/base/thread.h"

#include <sys/stat.h>

void dirtimes_init(struct dirtimes *d)
{
	for (int i = 0; i < DIRTIMES_LOCKS; i++)
		mutex_init(&d->locks[i]);
}

void dirtimes_destroy(struct dirtimes *d)
{
	for (int i = 0; i < DIRTIMES_LOCKS; i++)
		mutex_destroy(&d->locks[i]);
}

struct dirtimes_visit dirtimes_visit(struct dirtimes *d, const struct tree_file *f, int dir)
{
	uint64_t key = (uint64_t)f->guest << 32 | f->dir;
	return (struct dirtimes_visit){ .lock = &d->locks[map_spread(key) % DIRTIMES_LOCKS], .dir = dir };
}

void dirtimes_enter(void *arg)
{
	struct dirtimes_visit *v = arg;
	struct stat st;

	mutex_lock(v->lock);
	v->known = fstat(v->dir, &st) == 0;
	if (v->known)
		v->mtime = st.st_mtim;
}

void dirtimes_leave(void *arg)
{
	struct dirtimes_visit *v = arg;
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, v->mtime };

	// Who is not the owner of the directory may not do this; then its mtime tells that something was
	// linked in it.
	if (v->known)
		futimens(v->dir, times);
	mutex_unlock(v->lock);
}
