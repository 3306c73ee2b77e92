// Objects: open, create, link, count, enumerate.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "store/name.h"

struct store;

// Opens an object for reading and returns an fd the caller owns. -ENOENT: no such object;
// -EBADMSG: what has that name is no object (its mark or size lies).
int object_open(struct store *s, const struct object_key *key, struct stat *ret);

// Opens whatever has the name of the object @key, to see what it is. -ENOENT: nothing; -ELOOP, -ENXIO: no
// regular file.
int object_open_unchecked(struct store *s, const struct object_key *key);

// The status of whatever has that name.
int object_stat(struct store *s, const struct object_key *key, struct stat *ret);

// Makes the file @fd (opened O_RDONLY, status @st, one name) the object @key, in place: marks its inode, then
// links it into objects/. A crash in between leaves a private file with a mark that says nothing (it has one
// name). -EEXIST: @key exists (take the next variant); -EXDEV: another filesystem, subvolume or project;
// -ESTALE: it has another name by now.
int object_adopt(struct store *s, int fd, const struct stat *st, const struct object_key *key);

// Makes it a private file again: nothing is linked to it but its own name, and it has changed meanwhile. The
// caller holds the lock of those that change the store.
int object_disown(struct store *s, int fd, const struct object_key *key);

// Has the file of @fd, an O_PATH fd with status @st and a true mark of @digest, its name as an object? 1 or
// 0; -E2BIG: it has too many xattrs for one.
int object_is_named(struct store *s, int fd, const struct stat *st, struct digest digest);

// Gives it that name again: it was lost in a store that is older than the links, and other names of the file
// are links still. The caller knows that its content has @digest. -EMLINK.
int object_restore(struct store *s, int fd, const struct stat *st, struct digest digest);

// Links the object @fd to @name in tmp/. -EMLINK: the inode can take no more names: take the next variant.
int object_link(struct store *s, int fd, const char *name);

// How many names an inode can have on the filesystem of @fd.
uint64_t object_link_limit(int fd);

// Removes @path, below the store's directory, if that is the only name its file has; @ret is the file's
// status. Whoever has it open goes on reading it. The caller holds the lock of those that change the store:
// nobody else gives an object a new name. -ENOENT: it is gone; -EINVAL: it is no regular file.
enum object_removed { OBJECT_REMOVED, OBJECT_HAS_LINKS };
int object_remove_unused(struct store *s, const char *path, struct stat *ret);

// Objects lie in directories by their digests' first three digits. Returns the number of the directory called
// @name, or -1: it is none of these.
int object_shard_number(const char *name);

// The number of the directory of objects with @digest.
static inline unsigned object_shard_of(struct digest digest)
{
	return (unsigned)(digest.high >> (64 - 4 * OBJECT_SHARD_DIGITS));
}

// Calls @each for every object, shard by shard: key and status of its inode (@st has st_ino alone
// unless @with_stat); stops at its first non-zero answer and returns that. Names that are no object's are
// passed over, their number is added to @ret_foreign.
int object_each(struct store *s, bool with_stat,
		int (*each)(const struct object_key *key, const struct stat *st, void *arg), void *arg,
		uint64_t *ret_foreign);

// The same for those in the directory @shard, without status. What has that name and is no directory is
// foreign as well.
int object_each_in(struct store *s, const char *shard,
		   int (*each)(const struct object_key *key, const struct stat *st, void *arg), void *arg,
		   uint64_t *ret_foreign);
