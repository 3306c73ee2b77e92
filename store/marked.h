// Do all objects have their marks? A mount tells links by them: an object without its own looks like a file
// that a guest has given several names itself, and would be written in place, for all guests. Whoever
// restores files into a store without their trusted. xattrs makes such objects (tar; rsync -H without -X),
// and by that changes the directory they are in. So `.hash/marked` says how these directories were when all
// was well, and only objects in others are looked at.
//
// Whoever calls these keeps others from it meanwhile: he has the store's lock exclusively, or holds the
// registry.
#pragma once

#include <stdint.h>

struct store;

// Gives marks to all objects that have none, or not their own. *@ret is how many a mount would have taken for
// private files. Goes on where one cannot have its mark, and returns the first such error.
int marked_renew_all(struct store *s, uint64_t *ret);

// The same where a directory is not as it was when all was well there, and notes how they are now. A file
// that cannot be read is no error: no mount serves it.
int marked_renew_changed(struct store *s, uint64_t *ret);
