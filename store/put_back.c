#include "store/put_back.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/clock.h"
#include "store/base/dir.h"
#include "store/displaced.h"
#include "store/store.h"
#include "store/variants.h"

// A guest that keeps moving what we want to exchange ends with its file kept. One that does nothing but swap
// its file with another makes us take some 200 steps, 5 ms: it waits for the same locks, and is there before
// us.
#define PATIENCE_NSEC INT64_C(250000000)
#define MOVED_MAX 16

// The link, always the first, or something of the guest's.
struct moved {
	int fd;  // O_PATH; owned but for the link's
	uint64_t ino;
	unsigned belongs;  // number of the one that belongs where this is; the link belongs in tmp/
};

struct exchanges {
	struct store *store;
	const char *tmp;
	int pool;
	int dir;  // where the link was put, or -1
	const char *name;
	int64_t until;  // in nanoseconds on CLOCK_MONOTONIC
	bool lost;      // it was exchanged, and we cannot tell what came out
	struct moved moved[MOVED_MAX];
	unsigned count;
};

// Following

// The path of @fd below the directory @top, both as the kernel knows them now. -ESTALE: it is not there.
static int path_below(int top, int fd, char ret[PATH_MAX])
{
	char above[PATH_MAX], path[PATH_MAX];

	ssize_t length = readlink(fd_path(top).text, above, sizeof(above) - 1);
	ssize_t whole = readlink(fd_path(fd).text, path, sizeof(path) - 1);
	if (length < 0 || whole < 0)
		return -errno;  // -ENAMETOOLONG among them
	length -= length > 0 && above[length - 1] == '/';
	if (whole <= length || memcmp(path, above, (size_t)length) != 0 || path[length] != '/')
		return -ESTALE;
	path[whole] = '\0';
	memcpy(ret, path + length + 1, (size_t)(whole - length));
	return 0;
}

// Opens the directory of @path, which is below @top, and prints the last name to @ret.
static int open_above(int top, char *path, const char **ret)
{
	char *slash = strrchr(path, '/');

	*ret = slash ? slash + 1 : path;
	if (!slash)
		return -ESTALE;  // a guest's files are not in the pool's own directory
	*slash = '\0';
	return beneath_open(top, path, O_RDONLY | O_DIRECTORY, 0);
}

static bool is_inode(int dir, const char *name, uint64_t ino)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == ino;
}

// Room for one more: of what is in its place again, if need be. -ESTALE: too much is not.
static int free_slot(struct exchanges *x)
{
	if (x->count < MOVED_MAX)
		return (int)x->count++;
	for (unsigned i = 1; i < MOVED_MAX; i++) {
		if (x->moved[i].belongs == i) {
			cleanup_close(&x->moved[i].fd);
			return (int)i;
		}
	}
	return -ESTALE;
}

static int add(struct exchanges *x, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	int slot = free_slot(x);
	if (slot >= 0)
		x->moved[slot] = (struct moved){ fd, st.st_ino, (unsigned)slot };
	return slot;
}

// The number of what is in tmp/ now, which may have been met before. Two names of one inode are not the same:
// each has its own place.
static int number_in_tmp(struct exchanges *x)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < x->count; i++)
		if (path_below(x->store->tmp, x->moved[i].fd, path) == 0 && strcmp(path, x->tmp) == 0)
			return (int)i;
	auto_close int fd = openat(x->store->tmp, x->tmp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int number = add(x, fd);
	if (number >= 0)
		take_fd(&fd);
	return number;
}

// The same after an exchange, which cannot be taken for an error: something has changed by then.
static int number_come_out(struct exchanges *x)
{
	int number;

	do
		number = number_in_tmp(x);
	while (displaced_is_transient(number) && clock_ns(CLOCK_MONOTONIC) < x->until);
	x->lost = number < 0;
	return number;
}

// As the kernel says it of a path whose last name is gone.
static bool is_deleted(const char *name)
{
	const char mark[] = " (deleted)";
	size_t length = strlen(name);

	return length >= strlen(mark) && strcmp(name + length - strlen(mark), mark) == 0;
}

// Exchanging

static int exchange_at(struct exchanges *x, const struct moved *there, int dir, const char *name)
{
	struct stat st;

	if (!is_inode(dir, name, there->ino))
		return -ENOENT;
	if (fstat(dir, &st) < 0)
		return -errno;
	int r = displaced_exchange(x->store, x->tmp, dir, name);
	const struct timespec times[2] = { st.st_atim, st.st_mtim };
	if (r == 0)
		futimens(dir, times);
	return r;
}

static int exchange_link_at(struct exchanges *x)
{
	int r = x->dir >= 0 ? exchange_at(x, &x->moved[0], x->dir, x->name) : -ENOENT;
	return r == -ENOENT ? -ESTALE : r;
}

// Exchanges what is in tmp/ with what @number is. -ENOENT: it has moved meanwhile; -ESTALE: it is gone, or
// out of reach.
static int exchange_with(struct exchanges *x, unsigned number)
{
	const struct moved *there = &x->moved[number];
	char path[PATH_MAX];
	const char *name;

	int r = path_below(x->pool, there->fd, path);
	if (r < 0 && !displaced_is_transient(r))
		return number == 0 ? exchange_link_at(x) : -ESTALE;
	if (r < 0)
		return r;
	auto_close int dir = open_above(x->pool, path, &name);
	if (displaced_is_transient(dir))
		return dir;
	r = dir < 0 ? dir : exchange_at(x, there, dir, name);
	return (r == -ENOENT && is_deleted(name)) || dir == -EXDEV ? -ESTALE : r;
}

// With what is @in, which is in tmp/, to be exchanged? -1: everything is in its place.
static int next_of(const struct exchanges *x, unsigned in)
{
	bool link_is_out = x->moved[in].belongs == in;

	for (unsigned i = 0; i < x->count; i++)
		if (link_is_out ? x->moved[i].belongs != i : x->moved[i].belongs == in)
			return (int)i;
	return -1;
}

// @in is where @out was, and @out in tmp/.
static void swap_places(struct exchanges *x, unsigned in, unsigned out)
{
	unsigned belongs = x->moved[in].belongs;

	x->moved[in].belongs = x->moved[out].belongs;
	x->moved[out].belongs = belongs;
}

// rename(2) of two names of one inode does nothing: they need not be exchanged, only told apart.
static bool same_inode(struct exchanges *x, unsigned in, unsigned there)
{
	int fd = x->moved[in].fd;

	if (x->moved[in].ino != x->moved[there].ino || in == 0 || there == 0)
		return false;
	x->moved[in].fd = x->moved[there].fd;
	x->moved[there].fd = fd;
	return true;
}

// One step. Returns the number of what is in tmp/ then, which was @in.
static int exchange_one(struct exchanges *x, unsigned in, unsigned there)
{
	int out = (int)there;

	if (!same_inode(x, in, there)) {
		int r = exchange_with(x, there);
		if (r == -ENOENT || r == -ELOOP || r == -ENOTDIR || r == -EAGAIN)
			return (int)in;  // it is on the way
		out = r < 0 ? r : number_come_out(x);
	}
	if (out >= 0)
		swap_places(x, in, (unsigned)out);
	return out;
}

static int exchange_all(struct exchanges *x, int in)
{
	int first = in;

	x->until = clock_ns(CLOCK_MONOTONIC) + PATIENCE_NSEC;
	while (clock_ns(CLOCK_MONOTONIC) < x->until) {
		int there = next_of(x, (unsigned)in);
		if (there < 0)
			return PUT_BACK;
		int out = exchange_one(x, (unsigned)in, (unsigned)there);
		if (x->lost)
			return PLACE_TAKEN;
		if (out < 0 && out != -ESTALE && in == first)
			return out;
		if (out < 0)
			break;
		in = out;
	}
	// Trying later would not do: what is in tmp/ has its place only as long as we know the others'.
	return in == 0 ? PUT_BACK : PLACE_TAKEN;
}

static int exchange_link(struct exchanges *x, int link)
{
	int r = add(x, link);
	if (r < 0)
		return r;
	int in = number_in_tmp(x);
	if (in <= 0)  // it was exchanged before, and only the link could not be removed
		return in < 0 ? in : PUT_BACK;
	swap_places(x, 0, (unsigned)in);
	return exchange_all(x, in);
}

int put_back(struct store *s, const char *tmp, int link, int dir, const char *name)
{
	struct exchanges x = { .store = s, .tmp = tmp, .dir = dir, .name = name };

	auto_close int pool = openat(s->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool < 0)
		return -errno;
	x.pool = pool;
	int r = exchange_link(&x, link);
	for (unsigned i = 1; i < x.count; i++)
		cleanup_close(&x.moved[i].fd);
	return r == PUT_BACK ? displaced_drop(s, tmp) : r;
}

int put_back_or_keep(struct store *s, const char *tmp, int link, int dir, const char *name)
{
	int r = put_back(s, tmp, link, dir, name);
	if (r != PLACE_TAKEN)
		return r;
	r = displaced_keep(s, tmp);
	return r < 0 ? r : PLACE_TAKEN;
}

// By path

// The longest beginning of @path that is whole names and that the kernel takes.
static size_t piece_of(const char *path)
{
	size_t length = strlen(path);

	if (length < PATH_MAX)
		return length;
	for (length = PATH_MAX - 1; length > 0 && path[length] != '/'; length--)
		;
	return length;
}

// Opens the directory @path, which has no slash at its end and may be longer than PATH_MAX.
static int open_long(int pool, const char *path)
{
	auto_close int at = -1;

	while (*path) {
		char piece[PATH_MAX];
		size_t length = piece_of(path);

		if (length == 0)
			return -ENAMETOOLONG;
		*(char *)mempcpy(piece, path, length) = '\0';
		int next = beneath_open(at < 0 ? pool : at, piece, O_RDONLY | O_DIRECTORY, 0);
		if (next < 0)
			return next;
		cleanup_close(&at);
		at = next;
		path += length + strspn(path + length, "/");
	}
	return at < 0 ? -EINVAL : take_fd(&at);
}

// -ESTALE: it is not @in.
static int open_directory_of(const struct store *s, const char *path, struct dir_id in, const char **ret_name)
{
	const char *slash = strrchr(path, '/');

	*ret_name = slash ? slash + 1 : path;
	if (!slash)
		return -EINVAL;
	auto_close int pool = openat(s->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pool < 0)
		return -errno;
	auto_free char *dir = strndup(path, (size_t)(slash - path));
	auto_close int fd = dir ? open_long(pool, dir) : -ENOMEM;
	struct dir_id now;
	int r = fd < 0 ? fd : dir_identify(fd, &now);
	if (r < 0)
		return r;
	return dir_id_equal(now, in) ? take_fd(&fd) : -ESTALE;
}

// -ENOENT: @name is none of @links.
static int open_link(int dir, const char *name, const struct variants *links)
{
	struct stat st;
	auto_close int link = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (link < 0 || fstat(link, &st) < 0)
		return -errno;
	return variants_have(links, st.st_ino) ? take_fd(&link) : -ENOENT;
}

int put_back_path(struct store *s, const char *tmp, int link, const char *path, struct dir_id in)
{
	const char *name;

	auto_close int dir = open_directory_of(s, path, in, &name);
	return displaced_is_transient(dir) ? dir : put_back(s, tmp, link, dir, name);
}

int put_back_found(struct store *s, const char *tmp, const char *path, struct dir_id in,
		   const struct variants *links)
{
	const char *name;
	struct stat st;

	if (fstatat(s->tmp, tmp, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	// It was exchanged before, and only the link could not be removed.
	if (variants_have(links, st.st_ino))
		return displaced_drop(s, tmp);
	auto_close int dir = open_directory_of(s, path, in, &name);
	if (dir < 0)
		return displaced_is_transient(dir) ? dir : PLACE_TAKEN;
	auto_close int link = open_link(dir, name, links);
	if (link < 0)
		return displaced_is_transient(link) ? link : PLACE_TAKEN;
	return put_back(s, tmp, link, dir, name);
}
