// A throw-away directory (tree.h) with a store, for tests of what changes guests' files.
#pragma once

#include <stdint.h>

#include "store/claim.h"
#include "store/name.h"
#include "store/replace.h"
#include "store/store.h"
#include "tests/support/tree.h"

struct pool {
	struct tree *tree;    // owned
	struct store *store;  // owned
};

// cmocka's setup and teardown; the state is a struct pool.
int pool_setup(void **state);
int pool_teardown(void **state);

// The key of an object with this content and the identity that put_old() gives.
struct object_key key_of(const struct pool *p, const char *path);

// Writes a file, as put(), with a modification time that is the same for all.
void put_old(const struct pool *p, const char *path, const char *content);

// Makes the file an object.
struct object_key make_object(const struct pool *p, const char *path);

// Takes the mark of the file away, as a restore that keeps no xattrs does.
void remove_mark(const struct pool *p, const char *path);

// Names in tmp/, but for the journals.
size_t names_in_flight(const struct pool *p);
