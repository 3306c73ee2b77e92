// A worker's journal, `tmp/journal-N`: where the displaced files in tmp/ came from, so that recovery can put
// back what a running guest still wrote to. Written, not synced: it is for a killed hashify. After a power
// cut the displaced file's own name says enough (recover.c).
#pragma once

#include "store/tmp.h"

struct dir_id;
struct store;

#define JOURNAL_SLOTS 1024

// Opens the journal of @worker, empty, and returns its fd.
int journal_open(struct store *s, unsigned worker);

// Records that @tmp comes from @path in the pool, which is in the directory @in, over what was in @slot. A
// path too long for it is not recorded.
int journal_write(int fd, uint64_t slot, const char *tmp, const char *path, struct dir_id in);

// Finds out where @tmp came from, in all journals there are. The path is the caller's to free. By then it may
// lead to another directory than @ret_in: guests were renamed. -ENOENT: not recorded.
int journal_find(struct store *s, const char *tmp, char **ret_path, struct dir_id *ret_in);

// Removes the journal of @worker; or all.
void journal_remove(struct store *s, unsigned worker);
int journal_remove_all(struct store *s);
