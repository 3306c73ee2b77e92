// The mark: an xattr on an object's inode that names its content *and the inode itself*, so that a copy made
// by `cp -a`, or a restored backup, is never taken for an object.
//
// A regular file is a link if its inode has more than one name and carries a mark. Whether the mark is true
// does not matter for that: a pool that was copied with its hard links has marks of other inodes, and there,
// too, a write in place would change several guests.
//
// Text: "1 INODE DIGEST", the version, the inode number in decimal, the digest in 32 hexadecimal digits. On
// ext4 with its usual inodes of 256 bytes that is short enough to be kept in the inode: a longer one would
// cost a block of 4 KiB for each object.
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "store/digest.h"

// A store keeps its marks in trusted. where root made it (guests cannot write that, nor read it), else in
// user.
enum mark_space { MARK_TRUSTED, MARK_USER };

// Is the file of @fd (O_PATH will do) and @st a link? 1 or 0, or a negative errno. One system call for files
// with more than one name, none for others.
int mark_is_link(enum mark_space space, int fd, const struct stat *st);

// Reads a true mark into @ret. -ENODATA: there is none, or it names another inode.
int mark_read(enum mark_space space, int fd, const struct stat *st, struct digest *ret);

int mark_write(enum mark_space space, int fd, const struct stat *st, struct digest digest);

// Sees to it that the names of @fd, several, are links to every mount: any mark will do for that, else this
// one.
int mark_as_link(enum mark_space space, int fd, const struct stat *st, struct digest digest);

// Removes the mark, true or not; a file without one is fine.
int mark_remove(enum mark_space space, int fd);
