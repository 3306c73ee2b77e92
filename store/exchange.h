// Exchanging a name in tmp/ with a guest's, so that a power cut leaves that name with one of both.
//
// The other filesystems journal an exchange as one change. btrfs has a log beside its transactions, which
// fsync(2) writes: where the guest's directory is in it, a rename logs at once that a file has gone from
// there; what came instead only if its old directory or itself is in the log, too (btrfs_log_new_name(),
// fs/btrfs/tree-log.c). Any fsync(2) on the filesystem then makes the name's loss durable. So there the
// directory in tmp/ is logged beforehand, once in each transaction.
#pragma once

#include <stdint.h>

struct store;

// What is known of one directory in tmp/.
struct exchange_log {
	int dir;              // owned; -1: nothing needs to be logged
	uint64_t generation;  // of the transaction it was logged in; 0: none
};

#define EXCHANGE_LOG_NONE ((struct exchange_log){ .dir = -1 })

// For names "@worker…" in tmp/: a worker's directory, or tmp/ itself where that is "".
int exchange_log_open(struct store *s, const char *worker, struct exchange_log *ret);
void exchange_log_close(struct exchange_log *l);

// Exchanges @tmp in tmp/, which lies in the directory of @l, with @name in @dir, open for reading.
int exchange(struct store *s, struct exchange_log *l, const char *tmp, int dir, const char *name);

// The same, once.
int exchange_once(struct store *s, const char *tmp, int dir, const char *name);
