#include "fs/backing.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "fs/fuse.h"
#include "fs/hashfs.h"
#include "store/base/cleanup.h"
#include "store/base/list.h"

// An idle id pins an open file in the kernel, about 1 kB; it spares the next open a reopen and a
// registration.
#define IDLE_MAX 2048

#ifndef FUSE_DEV_IOC_BACKING_OPEN
struct fuse_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define FUSE_DEV_IOC_BACKING_OPEN _IOW(229, 1, struct fuse_backing_map)
#define FUSE_DEV_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)
#endif

void backings_init(struct backings *b)
{
	mutex_init(&b->lock);
	list_init(&b->idle);
}

static bool serves(const void *value, const void *at)
{
	const struct backing *b = value;
	return handle_same(&b->at, at);
}

static void unregister(struct hashfs *fs, struct backing *b)
{
	uint32_t id = (uint32_t)b->id;

	ioctl(fuse_session_fd(fs->session), FUSE_DEV_IOC_BACKING_CLOSE, &id);
	map_remove(&fs->backings.map, b->at.ino, b);
	free(b);
}

static void drop_idle(struct hashfs *fs, struct backing *b)
{
	list_remove(&b->idle);
	fs->backings.idle_count--;
	unregister(fs, b);
}

void backings_free(struct hashfs *fs)
{
	struct backings *all = &fs->backings;

	// The kernel drops its ids with the connection; those still in use belong to nodes that are freed
	// next.
	list_each(p, &all->idle)
		drop_idle(fs, list_item(p, struct backing, idle));
	map_free(&all->map);
	mutex_destroy(&all->lock);
}

// The fd may be closed at once: the kernel keeps the path, and the credentials of this thread.
static int register_fd(const struct hashfs *fs, int fd)
{
	struct fuse_backing_map map = { .fd = fd };
	int id = ioctl(fuse_session_fd(fs->session), FUSE_DEV_IOC_BACKING_OPEN, &map);
	return id < 0 ? -errno : id;
}

static int register_file(const struct hashfs *fs, const struct handle *at, int fd, bool readonly)
{
	if (fd >= 0 && !readonly)
		return register_fd(fs, fd);
	auto_close int own = readonly ? handle_open_readonly(fs, at) : handle_open(fs, at, O_PATH);
	return own < 0 ? own : register_fd(fs, own);
}

static int add(struct hashfs *fs, const struct handle *at, int fd, bool object, struct backing **ret)
{
	int r = map_reserve(&fs->backings.map);
	if (r < 0)
		return r;

	auto_free struct backing *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;

	b->readonly = object;
	b->at = *at;
	b->at.fd = -1;  // compared, never opened
	list_init(&b->idle);
	b->id = register_file(fs, at, fd, b->readonly);
	if (b->id < 0)
		return b->id;

	map_add(&fs->backings.map, at->ino, b);
	*ret = b;
	b = NULL;
	return 0;
}

int backing_get(struct hashfs *fs, const struct handle *at, int fd, bool object, struct backing **ret)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->backings.lock);
	struct backing *b = map_find(&fs->backings.map, at->ino, serves, at);

	// An inode that was an object's once may have been registered read-only by then.
	if (b && b->readonly && !object && b->users == 0) {
		drop_idle(fs, b);
		b = NULL;
	}
	if (!b) {
		int r = add(fs, at, fd, object, &b);
		if (r < 0)
			return r;
	} else if (b->users == 0) {
		list_remove(&b->idle);
		fs->backings.idle_count--;
	}
	b->users++;
	*ret = b;
	return 0;
}

static struct backing *longest_idle(struct backings *all)
{
	return list_item(all->idle.next, struct backing, idle);
}

void backing_put(struct hashfs *fs, struct backing *b)
{
	struct backings *all = &fs->backings;
	auto_unlock pthread_mutex_t *held = mutex_hold(&all->lock);

	if (--b->users > 0)
		return;
	if (b->deleted) {
		unregister(fs, b);
		return;
	}
	list_add_tail(&all->idle, &b->idle);
	if (++all->idle_count > IDLE_MAX)
		drop_idle(fs, longest_idle(all));
}

void backing_deleted(struct hashfs *fs, const struct handle *at)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->backings.lock);
	struct backing *b = map_find(&fs->backings.map, at->ino, serves, at);

	if (!b)
		return;
	if (b->users == 0)
		drop_idle(fs, b);
	else
		b->deleted = true;
}
