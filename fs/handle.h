// A backing inode, reopened when needed: no idle node keeps an fd where the filesystem has file handles and
// we are privileged (open_by_handle_at(2) needs CAP_DAC_READ_SEARCH). Elsewhere, and for deleted files, it
// keeps an O_PATH fd.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct hashfs;

// ext4, XFS and tmpfs need 8 to 12 bytes, btrfs 20; a longer one is not kept, an fd is.
#define HANDLE_BYTES 24

struct handle {
	uint64_t ino;
	dev_t dev;
	unsigned char bytes[HANDLE_BYTES];
	int fd;  // owned; -1: the bytes do
	uint8_t size, type;
};

#define HANDLE_NONE ((struct handle){ .fd = -1 })

// Makes the handle of *@fd, an O_PATH fd with status @st. Takes *@fd (which becomes -1) where it must be
// kept.
int handle_make(struct hashfs *fs, int *fd, const struct stat *st, struct handle *ret);

// Does the filesystem of @fd have file handles that we may open? 1 or 0.
int handle_probe(const struct hashfs *fs, int fd);

// The directory @fd, which may be of another mount, as an O_PATH fd of the pool's own. -EPERM: not
// privileged; -ESTALE: it is none of that filesystem.
int handle_find(const struct hashfs *fs, int fd);

// Opens the inode and returns an fd the caller owns. -ESTALE: it is gone.
int handle_open(const struct hashfs *fs, const struct handle *h, int flags);

// Opens it for reading; the time of its last access, which guests share, does not move, unless it is another
// user's.
int handle_open_unnoticed(const struct hashfs *fs, const struct handle *h);

// The same as an O_PATH fd in the read-only clone of the mount. Only for file handles.
int handle_open_readonly(const struct hashfs *fs, const struct handle *h);

// Do both name the same inode, the generation included?
bool handle_same(const struct handle *a, const struct handle *b);

// Keeps @fd, an O_PATH fd, from now on: the inode is about to lose its last name. Takes @fd.
void handle_pin(struct handle *h, int fd);

void handle_close(struct handle *h);
