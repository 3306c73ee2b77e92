// A store in a guest: somebody has run `hashify GUEST`, by mistake, before its pool had a store. Links to it
// are to the pool hard links that it has not made, and stay that until they are made private.
#pragma once

#include <stdbool.h>

#include "hashify/place.h"

struct policy;

// Has the directory @path in @pool a store of its own?
bool nested_has_store(int pool, const char *path);

// Opens as a pool the directory in a guest that @outer is, and that has a store of its own. @outer, which
// stays the caller's and open, keeps mounts of the guest away. 0, or -1: the reason was said.
int nested_open(const struct place *outer, enum openpool_mode mode, struct place *ret);

// Names each guest of @pool, those that @policy wants, that has a store of its own. @path is the pool's.
void nested_warn(const char *path, int pool, const struct policy *policy);
