#include "fs/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs/hashfs.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"

// struct file_handle ends in a flexible array; this gives it room.
union file_handle_buffer {
	struct file_handle head;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static int read_handle(int fd, struct handle *h)
{
	union file_handle_buffer b = { .head.handle_bytes = HANDLE_BYTES };
	int mount_id;

	if (name_to_handle_at(fd, "", &b.head, &mount_id, AT_EMPTY_PATH) < 0)
		return -errno;
	if (b.head.handle_type > UINT8_MAX)
		return -EOVERFLOW;

	h->size = (uint8_t)b.head.handle_bytes;
	h->type = (uint8_t)b.head.handle_type;
	memcpy(h->bytes, b.head.f_handle, b.head.handle_bytes);
	return 0;
}

static int open_handle(int mount, const struct handle *h, int flags)
{
	union file_handle_buffer b = { .head = { .handle_bytes = h->size, .handle_type = h->type } };

	memcpy(b.head.f_handle, h->bytes, h->size);
	int fd = open_by_handle_at(mount, &b.head, flags | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	// ext4 says ENOMEM while the deleted inode's number is being given to a new file (ext4_iget,
	// I_CREATING).
	return errno == ENOMEM ? -ESTALE : -errno;
}

int handle_make(struct hashfs *fs, int *fd, const struct stat *st, struct handle *ret)
{
	*ret = (struct handle){ .ino = st->st_ino, .dev = st->st_dev, .fd = -1 };
	if (fs->handles) {
		int r = read_handle(*fd, ret);
		if (r == 0)
			return 0;
		if (r != -EOVERFLOW && r != -EOPNOTSUPP)
			return r;
	}
	ret->fd = take_fd(fd);
	return 0;
}

int handle_probe(const struct hashfs *fs, int fd)
{
	struct handle h = HANDLE_NONE;

	if (read_handle(fd, &h) < 0)
		return 0;

	auto_close int again = open_handle(fs->pool, &h, O_PATH);
	return again >= 0;
}

int handle_find(const struct hashfs *fs, int fd)
{
	struct handle h = HANDLE_NONE;

	int r = read_handle(fd, &h);
	return r < 0 ? r : open_handle(fs->pool, &h, O_PATH);
}

int handle_open(const struct hashfs *fs, const struct handle *h, int flags)
{
	int fd;

	if (h->fd < 0)
		return open_handle(fs->pool, h, flags);

	if (flags & O_PATH)
		fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
	else
		fd = open(fd_path(h->fd).text, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int handle_open_unnoticed(const struct hashfs *fs, const struct handle *h)
{
	int fd = handle_open(fs, h, O_RDONLY | O_NOATIME);
	return fd == -EPERM ? handle_open(fs, h, O_RDONLY) : fd;
}

int handle_open_readonly(const struct hashfs *fs, const struct handle *h)
{
	return open_handle(fs->objects, h, O_PATH);
}

bool handle_same(const struct handle *a, const struct handle *b)
{
	if (a->ino != b->ino || a->dev != b->dev)
		return false;
	// Where a node holds an fd its inode number cannot have been given to another file.
	if (a->size == 0 || b->size == 0)
		return true;
	return a->type == b->type && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

void handle_pin(struct handle *h, int fd)
{
	if (h->fd >= 0)
		fd_close(fd);
	else
		h->fd = fd;
}

void handle_close(struct handle *h)
{
	if (h->fd >= 0)
		fd_close(h->fd);
	h->fd = -1;
}
