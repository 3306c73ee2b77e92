#include "fs/dirs.h"

#include <assert.h>
#include <fcntl.h>
#include <stddef.h>

#include "fs/hashfs.h"
#include "fs/node.h"
#include "store/base/cleanup.h"

void dirs_init(struct dirs *d)
{
	mutex_init(&d->lock);
	for (int i = 0; i < DIRS_KEPT; i++)
		d->kept[i].fd = -1;
}

void dirs_destroy(struct dirs *d)
{
	for (int i = 0; i < DIRS_KEPT; i++)
		cleanup_close(&d->kept[i].fd);
	mutex_destroy(&d->lock);
}

static struct kept_dir *find(struct dirs *d, const struct node *n)
{
	for (struct kept_dir *k = d->kept; k < d->kept + DIRS_KEPT; k++)
		if (k->node == n)
			return k;
	return NULL;
}

static int use_kept(struct dirs *d, const struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&d->lock);
	struct kept_dir *k = find(d, n);

	if (!k)
		return -1;
	k->users++;
	k->used = ++d->uses;
	return k->fd;
}

static struct kept_dir *longest_unused(struct dirs *d)
{
	struct kept_dir *r = NULL;

	for (struct kept_dir *k = d->kept; k < d->kept + DIRS_KEPT; k++)
		if (k->users == 0 && (!r || k->used < r->used))
			r = k;
	return r;
}

// Returns the fd whose place @fd has taken, or -1.
static int keep(struct dirs *d, const struct node *n, int fd)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&d->lock);
	struct kept_dir *k = longest_unused(d);

	if (!k)
		return -1;  // it is closed after use
	int old = k->fd;
	*k = (struct kept_dir){ .node = n, .fd = fd, .users = 1, .used = ++d->uses };
	return old;
}

struct open_dir dirs_open(struct hashfs *fs, struct node *n)
{
	int fd = use_kept(&fs->dirs, n);
	if (fd < 0) {
		fd = node_open(fs, n, O_PATH | O_DIRECTORY);
		auto_close int old = fd < 0 ? -1 : keep(&fs->dirs, n, fd);
	}
	return (struct open_dir){ fs, fd };
}

static bool put_kept(struct dirs *d, int fd)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&d->lock);

	for (struct kept_dir *k = d->kept; k < d->kept + DIRS_KEPT; k++)
		if (k->fd == fd) {
			k->users--;
			return true;
		}
	return false;
}

void dirs_close(struct open_dir *dir)
{
	if (dir->fd >= 0 && !put_kept(&dir->fs->dirs, dir->fd))
		fd_close(dir->fd);
}

static int drop(struct dirs *d, const struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&d->lock);
	struct kept_dir *k = find(d, n);

	if (!k)
		return -1;
	assert(k->users == 0);
	k->node = NULL;
	k->used = 0;
	return take_fd(&k->fd);
}

void dirs_forget(struct hashfs *fs, const struct node *n)
{
	// Two requests that came at once may each have opened it.
	for (int fd; (fd = drop(&fs->dirs, n)) >= 0;)
		fd_close(fd);
}
