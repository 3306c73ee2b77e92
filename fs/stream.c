#include "fs/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs/hashfs.h"
#include "fs/node.h"
#include "store/base/cleanup.h"

// Streams of a mount

void streams_init(struct streams *l)
{
	mutex_init(&l->lock);
	list_init(&l->idle);
	l->count = 0;
}

static void forget_all(struct listing *held)
{
	for (int i = 0; held->all && i < held->count; i++)
		free(held->all[i]);
	free(held->all);
	held->all = NULL;
	held->count = 0;
}

static void close_listing(struct listing *held)
{
	if (held->dir)
		closedir(held->dir);
	forget_all(held);
}

// Called under the lock. What @s held is the caller's.
static struct listing strip(struct dir_stream *s)
{
	struct listing held = s->held;

	s->held = (struct listing){ 0 };
	s->next = NULL;
	return held;
}

static void take_off(struct streams *l, struct dir_stream *s)
{
	list_remove(&s->idle);
	l->count--;
}

void streams_destroy(struct streams *l)
{
	list_each(p, &l->idle) {
		struct dir_stream *s = list_item(p, struct dir_stream, idle);
		take_off(l, s);
		stream_drop(s);
	}
	mutex_destroy(&l->lock);
}

struct dir_stream *stream_new(void)
{
	struct dir_stream *s = calloc(1, sizeof(*s));

	if (s)
		list_init(&s->idle);
	return s;
}

void stream_take(struct streams *l, struct dir_stream *s)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&l->lock);

	if (!list_empty(&s->idle))
		take_off(l, s);
}

static void put_on(struct streams *l, struct dir_stream *s)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&l->lock);

	list_add_tail(&l->idle, &s->idle);
	l->count++;
}

// What the stream that was not used for longest held, if there are too many. Nothing is closed under the
// lock.
static struct listing surplus(struct streams *l)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&l->lock);

	if (l->count <= STREAMS_KEPT)
		return (struct listing){ 0 };
	struct dir_stream *s = list_item(l->idle.next, struct dir_stream, idle);
	take_off(l, s);
	return strip(s);
}

void stream_keep(struct streams *l, struct dir_stream *s)
{
	struct listing old;

	if (!s->held.dir)
		return;
	put_on(l, s);
	while ((old = surplus(l)).dir)
		close_listing(&old);
}

void stream_drop(struct dir_stream *s)
{
	struct listing held = strip(s);
	close_listing(&held);
}

void stream_free(struct streams *l, struct dir_stream *s)
{
	stream_take(l, s);
	stream_drop(s);
	free(s);
}

// One stream

static int read_all(struct node *n, struct dir_stream *s)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(n->names);

	forget_all(&s->held);
	s->next = NULL;
	int count = scandirat(stream_fd(s), ".", &s->held.all, NULL, NULL);
	if (count < 0)
		return -errno;
	s->held.count = count;
	s->at = 0;
	return 0;
}

static int reopen(struct hashfs *fs, struct node *n, struct dir_stream *s)
{
	if (s->held.dir)
		return 0;
	auto_close int fd = node_open(fs, n, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	s->held.dir = fdopendir(fd);
	if (!s->held.dir)
		return -errno;
	take_fd(&fd);
	s->offset = 0;
	return 0;
}

// Where there are snapshots, the beginning is what is there now. The entry that @offset follows, or the one
// it leads to, may be gone since: an entry's d_off is the place of the next one, and places ascend (btrfs).
static int seek_in_all(struct node *n, struct dir_stream *s, off_t offset)
{
	if (!s->held.all || (offset == 0 && s->offset != 0)) {
		int r = read_all(n, s);
		if (r < 0)
			return r;
		s->offset = 0;
	}
	if (offset == s->offset)
		return 0;
	for (s->at = 0; s->at < s->held.count && s->held.all[s->at]->d_off < offset; s->at++)
		;
	s->at += s->at < s->held.count;
	s->offset = offset;
	s->next = NULL;
	return 0;
}

int stream_seek(struct hashfs *fs, struct node *n, struct dir_stream *s, off_t offset)
{
	int r = reopen(fs, n, s);
	if (r < 0)
		return r;
	if (fs->snapshots)
		return seek_in_all(n, s, offset);
	if (offset == s->offset)
		return 0;
	seekdir(s->held.dir, offset);
	s->offset = offset;
	s->next = NULL;
	return 0;
}

int stream_peek(struct dir_stream *s)
{
	if (s->next)
		return 1;
	if (s->held.all) {
		s->next = s->at < s->held.count ? s->held.all[s->at++] : NULL;
		return s->next != NULL;
	}
	errno = 0;
	s->next = readdir(s->held.dir);
	if (!s->next)
		return -errno;
	return 1;
}

void stream_advance(struct dir_stream *s)
{
	s->offset = s->next->d_off;
	s->next = NULL;
}

int stream_fd(const struct dir_stream *s)
{
	return dirfd(s->held.dir);
}
