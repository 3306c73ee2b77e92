#include "fs/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs/hashfs.h"
#include "fs/node.h"
#include "store/base/cleanup.h"

// Entries are read into half as much at least.
#define ROOM ((size_t)64 << 10)

// Streams of a mount

void streams_init(struct streams *l)
{
	mutex_init(&l->lock);
	list_init(&l->idle);
	l->count = l->size = 0;
}

static void forget_all(struct listing *held)
{
	free(held->all);
	held->all = NULL;
	held->size = 0;
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
	l->size -= s->held.size;
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
	l->size += s->held.size;
}

static bool is_too_much(const struct streams *l)
{
	return l->count > STREAMS_KEPT || (l->size > LISTINGS_KEPT && l->count > 1);
}

// What the stream that was not used for longest held, if that is too much. Nothing is closed under the
// lock.
static struct listing surplus(struct streams *l)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&l->lock);

	if (!is_too_much(l))
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

// Makes room for more. One block, not one for each entry: when it is dropped, the memory goes back.
static int grow(struct listing *held, size_t *room)
{
	size_t larger = *room ? *room * 2 : ROOM;
	char *all = realloc(held->all, larger);

	if (!all)
		return -ENOMEM;
	held->all = all;
	*room = larger;
	return 0;
}

static int read_entries(int dir, struct listing *ret)
{
	size_t room = 0;
	ssize_t got;

	do {
		int r = room - ret->size < ROOM / 2 ? grow(ret, &room) : 0;
		if (r < 0)
			return r;
		got = getdents64(dir, ret->all + ret->size, room - ret->size);
		if (got < 0)
			return -errno;
		ret->size += (size_t)got;
	} while (got > 0);
	return 0;
}

static void trim(struct listing *held)
{
	char *all = held->size > 0 ? realloc(held->all, held->size) : NULL;

	if (all)
		held->all = all;
}

static int read_all(struct node *n, struct dir_stream *s)
{
	struct listing *held = &s->held;

	forget_all(held);
	s->next = NULL;
	s->at = 0;

	auto_unlock pthread_mutex_t *names = mutex_hold(n->names);
	// Rewound, a stream of btrfs may end where it did before (Linux 6.5).
	auto_close int dir = openat(stream_fd(s), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	int r = read_entries(dir, held);
	if (r < 0)
		forget_all(held);  // a part is none
	else
		trim(held);
	return r;
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

static struct dirent *next_of_all(struct dir_stream *s)
{
	if (s->at == s->held.size)
		return NULL;
	struct dirent *e = (void *)(s->held.all + s->at);
	s->at += e->d_reclen;
	return e;
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
	const struct dirent *before;
	s->at = 0;
	do
		before = next_of_all(s);
	while (before && before->d_off < offset);
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
		s->next = next_of_all(s);
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
