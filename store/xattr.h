// A file's extended attributes as one set: read, compared, copied whole. Ours (the mark) are never part of
// it. An fd may be O_PATH; then the calls go through /proc/self/fd.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The marks of objects (mark.h): a store keeps them in trusted. where root made it, else in user.
#define XATTR_MARK_TRUSTED "trusted.hashfs.object"
#define XATTR_MARK_USER "user.hashfs.object"

// All xattrs of a file but ours, sorted by name, so that equal sets have equal bytes.
struct xattr_set {
	char *data;   // owned; records of name, NUL, u32 size, value
	size_t size;  // bytes of data; 0: the file has none
};

// Is @name one that this project keeps for itself (XATTR_MARK_…)?
bool xattr_is_ours(const char *name);

// What is compared is no larger, or a guest could make us take any amount of memory: on XFS a file may have
// 64 KiB under each of thousands of names.
#define XATTR_SET_MAX ((size_t)256 * 1024)

// Reads the set of @fd. A filesystem without xattrs has an empty set. -E2BIG: it is larger than
// XATTR_SET_MAX; -ENOMEM.
int xattr_read(int fd, struct xattr_set *ret);

// The same, however large it is: a copy needs all. -E2BIG: its names are more than the kernel can list.
int xattr_read_all(int fd, struct xattr_set *ret);
void xattr_free(struct xattr_set *s);

// A copy of @s, which the caller frees. -ENOMEM.
int xattr_dup(const struct xattr_set *s, struct xattr_set *ret);

// The set of @name alone, as a part of @s, which stays its owner; empty: it is not there.
struct xattr_set xattr_find(const struct xattr_set *s, const char *name);

bool xattr_equal(const struct xattr_set *a, const struct xattr_set *b);

// Is @expected the set of @fd now? False also if it cannot be read.
bool xattr_same(int fd, const struct xattr_set *expected);

// Gives @fd, a new file, all of @s. The first failure is returned: a copy without its labels is no copy.
int xattr_write(int fd, const struct xattr_set *s);

// getxattr, setxattr, listxattr and removexattr on an fd that may be O_PATH. Negative errno.
int64_t xattr_get(int fd, const char *name, void *buf, size_t size);
int xattr_set(int fd, const char *name, const void *value, size_t size, int flags);
int64_t xattr_list(int fd, char *buf, size_t size);
int xattr_remove(int fd, const char *name);
