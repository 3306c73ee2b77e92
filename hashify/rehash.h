// Is an object what its name says? Reads it as a whole; what of it was not in the page cache before is
// dropped from it again, and its atime stays.
#pragma once

#include <stdint.h>

#include "store/name.h"

struct store;
struct throttle;
struct rehash;  // one thread's

// What is wrong with an object, as a set of these.
enum damage {
	DAMAGE_KIND = 1,         // no regular file
	DAMAGE_SIZE = 2,         // its content is not looked at then
	DAMAGE_METADATA = 4,     // mode, owner, mtime or xattrs
	DAMAGE_MARK = 8,         // missing, of another inode or of other content
	DAMAGE_CONTENT = 16,     // other bytes
	DAMAGE_UNREADABLE = 32,  // the disk or the filesystem gives an error
	DAMAGE_DISK = 64,        // other bytes on the disk than in memory (direct.h)
	DAMAGE_END = 128,
};

// The word that stands for one of them; and all words of a set, with commas.
const char *damage_word(enum damage one);
#define DAMAGE_WORDS_SIZE 64
void damage_print(unsigned damage, char ret[DAMAGE_WORDS_SIZE]);

// @throttle is borrowed; NULL: nothing slows it down. -ENOMEM.
int rehash_new(struct store *s, struct throttle *throttle, struct rehash **ret);

// NULL is fine.
void rehash_free(struct rehash *h);

// The digest of the content of @fd, @size bytes, for which the disk is read, too. REHASH_DIFFERS: memory has
// other bytes than that; 0: it has not; -ESTALE: it is shorter; -EINTR.
#define REHASH_DIFFERS 1
int rehash_content(struct rehash *h, int fd, uint64_t size, struct digest *ret);

// Checks the object @key. Its damage, 0 if it is sound, goes to @ret, and the bytes that were read are added
// to @ret_read. -ENOENT: it is gone; -EINTR: asked to stop (stop.h); others say nothing of the object.
int rehash_object(struct rehash *h, const struct object_key *key, unsigned *ret, uint64_t *ret_read);
