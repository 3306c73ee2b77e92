// The store of one pool: the directory `.hash` and everything in it.
// Opened once, shared by all threads. Sizes are bytes, times nanoseconds. Functions return 0, or the
// value they promise, or a negative errno; an errno not named here comes from the disk.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/mark.h"

#define STORE_DIR ".hash"
#define STORE_VERSION 1

struct store {
	int dir;      // owned: POOL/.hash, O_DIRECTORY
	int tmp;      // owned: tmp/
	int objects;  // owned: objects/
	int lock;     // owned: the lock file; -1 until store_lock()
	int pass;     // owned: the lock file of those that change the store; -1 until store_lock_pass()
	dev_t dev;    // the filesystem of the store
	ino_t ino;    // of POOL/.hash, to hide it
	uint64_t seed;
	enum mark_space marks;
	bool is_btrfs;  // exchange.h
	bool is_xfs;
	_Atomic uint64_t copying;  // bytes that copies which are being made will take; copy.h
	bool datasync_names;       // fdatasync(2) of a file that was given a new name makes that durable, too
	// The store was copied with its pool (`cp -a`, a restored backup): guests' names are still linked to
	// each other, but the marks name other inodes, or are gone. store_renew() puts that right; until then
	// no mount may serve the pool.
	bool copied;
};

// Makes POOL/.hash, complete or not at all: built as `.hash.new-…` and renamed. Marks go to trusted. when the
// process may write that, else to user. -EEXIST: there is a store already; -EROFS; -EOPNOTSUPP: no xattrs,
// hard links, nameless files or RENAME_EXCHANGE here.
int store_create(int pool);

// Opens the store of @pool, a directory fd that stays the caller's. -ENOENT: the pool has none; -EBADMSG: its
// format file is broken, or others may write to it; -EPROTONOSUPPORT: of a version, digest or policy that we
// do not know; -EPERM: it belongs neither to root nor to us (the
// file-system uid).
int store_open(int pool, struct store **ret);

// Marks all objects of a copied store anew. Called with the lock held exclusively. A crash leaves it a copied
// one.
int store_renew(struct store *s);

// Frees @s and all it owns; NULL is fine. No thread may still be using it.
void store_close(struct store *s);

// Takes the store's lock for as long as @s is open: exclusively for a program that changes links (hashify),
// shared for one that serves or reads (hashfs, dry runs). It dies with the process. -EWOULDBLOCK: the others
// are there.
//
// Who has it may take it in the other way. It is let go first, and an error leaves it so: another may have
// come in between, unless store_lock_pass() keeps it away.
//
// What changes the store takes another lock before this one, by store_lock_pass(). What changes it in such a
// way that mounts may go on needs only that.
enum store_lock_mode { STORE_SHARED, STORE_EXCLUSIVE };
int store_lock(struct store *s, enum store_lock_mode mode);

// Makes @s the only one that changes the store, for as long as it is open; mounts may be there. It dies with
// the process. -EWOULDBLOCK: another one does.
int store_lock_pass(struct store *s);
void store_unlock_pass(struct store *s);
