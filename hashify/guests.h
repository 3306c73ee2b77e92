// The guests of a pool.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct policy;
struct tally;
struct tree;
struct walk;

// May a directory of this name directly in a pool be a guest?
bool guests_may_be(const char *name);

// Lists the guests of @pool: every directory in it but the store and what the store is being built as
// (".hash", ".hash.…"), by name; those that @policy (NULL: none) wants. Fills @ret with trees that the caller
// frees, and the array.
int guests_list(int pool, const struct policy *policy, struct tree **ret, size_t *ret_count);

// Walks all guests of @pool, one after the other, for a @walk of links only, until it is asked to stop;
// counts in @tally and returns their number. -ENOMEM, or the error of reading the pool.
int64_t guests_walk_links(const struct walk *walk, int pool, struct tally *tally);
