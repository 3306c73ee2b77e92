// The state of one mount, and the lock order.
//
// Lock order: hashfs.twin_locks, node.names (of two directories by address), hashfs.break_lock,
// hashfs.table_lock, node_lock(), backings.lock, stale.lock, dirs.lock or streams.lock. Whoever holds a later
// one takes no earlier one. No lock is held while we reply to the kernel.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs/dirs.h"
#include "fs/later.h"
#include "fs/linger.h"
#include "fs/stale.h"
#include "fs/stream.h"
#include "store/base/list.h"
#include "store/base/map.h"

struct backing;
struct fuse_session;
struct node;
struct options;
struct store;

// The passthrough ids that the kernel knows (backing.h).
struct backings {
	pthread_mutex_t lock;  // guards all below
	struct map map;        // by inode number
	struct list idle;      // those that no open file uses, the longest idle first
	size_t idle_count;
};

#define NODE_LOCKS 1024
#define TWIN_LOCKS 64

struct hashfs {
	const struct options *opt;
	struct fuse_session *session;

	// Everything is reached through a private clone of the pool's mount, which shows no mount below it;
	// without CAP_SYS_ADMIN through the pool itself. One mount for all, because link and rename refuse to
	// cross mounts.
	int pool;     // owned
	int objects;  // owned; the same in a read-only, noatime clone: the kernel refuses writes through it.
		      // -1: none, and no passthrough
	struct store *store;  // owned

	uid_t uid;  // who owns the store and what we make for ourselves, as `pool` shows it
	gid_t gid;

	bool privileged;      // we may act as the caller and set trusted xattrs
	bool handles;         // file handles reopen inodes; else each node holds an O_PATH fd
	bool passthrough;     // agreed with the kernel
	bool stateless_dirs;  // a directory is opened anew for each read of it: places in it are the same in
			      // each stream
	bool snapshots;  // directories are read whole: a break moves a name to the directory's end, which who
			 // has begun to read never reaches (btrfs)
	dev_t dev;       // of the mount's root; subvolumes in it (btrfs) have others
	dev_t shown_dev;  // of the mount itself
	int most_pins;    // fds from this number on are not kept for deleted files
	int most_files;   // nor for open ones, and those that never had a name
	double timeout;   // seconds the kernel may cache entries and attributes

	struct node *root;  // a counted reference

	pthread_mutex_t table_lock;  // guards the next five, and what node.h says
	struct map nodes;            // those a look-up can find, by node_key
	struct list detached;        // the rest: unlinked, or retired,
	struct map retired;          // that is, replaced by a newer node for the same file: by inode number
	struct map inode_aliases;    // private files whose number in the guest is not the backing inode's
	struct map name_aliases;     // links that were renamed: names whose number is not the name's own

	pthread_mutex_t node_locks[NODE_LOCKS];  // node_lock()

	pthread_mutex_t twin_locks[TWIN_LOCKS];     // twin_hold()
	_Atomic unsigned twin_writers[TWIN_LOCKS];  // opens for writing of files with the same lock

	pthread_mutex_t break_lock;  // guards node.breaking and `later`
	pthread_cond_t break_done;
	struct later later;
	struct linger linger;
	struct dirs dirs;
	struct streams streams;

	_Atomic uint64_t published, settled;  // breaks, those of before the mount being one; sync.h

	struct stale stale;
	struct backings backings;
};
