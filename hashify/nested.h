// A store inside of a guest: the guest was a pool once, or has made something like it. What is in it is the
// guest's, so nothing here opens it as a store. Links to it are hard links that the pool has not made.
#pragma once

#include <stdbool.h>

struct policy;
struct tree_stores;

// Is the store of the directory @dir in use, by a mount or another hashify? Such a mount takes files for
// private that become links to another store, and would write to them in place.
bool nested_in_use(int dir);

// Keeps the store of the directory @dir from being used, by a lock in @s. Or it is in use, as nested_in_use()
// tells, or one too many: false.
bool nested_hold(int dir, struct tree_stores *s);

// The first guest of @pool that has a store, "web1", or one that is in use; the caller frees it. NULL: none.
char *nested_find(int pool, bool in_use);

// Names each guest of @pool, those that @policy wants, that has a store of its own. @path is the pool's.
void nested_warn(const char *path, int pool, const struct policy *policy);
