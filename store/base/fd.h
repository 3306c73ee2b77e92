// File descriptors: closing, whole reads and writes, opening beneath a directory, paths in /proc.
// An fd argument is borrowed. All are opened O_CLOEXEC. Functions return an fd or 0, or a negative errno.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Closes @fd. Aborts on EBADF: a double close would close a stranger's file.
void fd_close(int fd);

// Gives the file of @fd the name @path in @dir. -ENOENT: the directory is missing.
int fd_link(int fd, int dir, const char *path);

// Opens @path, a relative path that is resolved beneath @dir and nowhere else: no symbolic link is followed
// (the last one included, unless @flags has O_PATH|O_NOFOLLOW, which opens the link itself), no mount
// crossed, no "..". -EXDEV: it left @dir or its mount; -ELOOP: a symbolic link; -EAGAIN, with O_NONBLOCK:
// somebody holds a lease on it. Paths longer than PATH_MAX are walked piece by piece by the caller.
int beneath_open(int dir, const char *path, int flags, mode_t mode);

// The same, to read a file that a guest may have made: its atime stays as it is where the kernel allows that,
// to the owner and root. -ENXIO: it is no regular file; nothing but those is ever opened.
int beneath_open_file(int dir, const char *path);

// Reads up to @size bytes at @offset and returns how many: fewer only at the end of the file.
ssize_t fd_pread_all(int fd, void *buf, size_t size, uint64_t offset);

// Writes all of @size bytes at @offset. Returns 0.
int fd_pwrite_all(int fd, const void *buf, size_t size, uint64_t offset);

// "/proc/self/fd/N": names what @fd has open, for calls that take no O_PATH fd. It follows no further link.
struct fd_path {
	char text[32];
};
struct fd_path fd_path(int fd);
