#include "fs/sync.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "fs/hashfs.h"
#include "store/store.h"

void sync_published(struct hashfs *fs)
{
	if (!fs->store->datasync_names)
		atomic_fetch_add(&fs->published, 1);
}

// Never less than what another thread has found meanwhile.
static void note_settled(struct hashfs *fs, uint64_t count)
{
	uint64_t before = atomic_load(&fs->settled);
	while (before < count && !atomic_compare_exchange_weak(&fs->settled, &before, count))
		;
}

// Each of them was renamed out of tmp/, which was changed in the same transaction.
int sync_names(struct hashfs *fs)
{
	uint64_t count = atomic_load(&fs->published);

	if (atomic_load(&fs->settled) >= count)
		return 0;
	if (fsync(fs->store->tmp) < 0)
		return -errno;
	note_settled(fs, count);
	return 0;
}

int sync_file(struct hashfs *fs, int fd, bool content_alone)
{
	int r = content_alone ? sync_names(fs) : 0;
	if (r < 0)
		return r;
	return (content_alone ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}
