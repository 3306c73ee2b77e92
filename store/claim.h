// A file as we saw it when we opened it: does that still hold? A read lease tells of writers and of writable
// mappings, which move no ctime (Linux: a store through an already dirty page does not).
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

struct claim {
	int fd;          // borrowed, but for claim_end(); O_RDONLY
	struct stat st;  // as it was when claimed
};

// Takes a read lease on @fd. -EAGAIN: somebody has it open for writing or mapped writable; -EOPNOTSUPP,
// -EINVAL: no leases on this filesystem. The process must have called claim_init() first.
int claim_take(int fd, struct claim *ret);

// Does the claim still hold: lease whole; size, mtime, mode, owner, inode as they were (and ctime, unless
// @names_moved: our own link and rename move it)? 1 or 0, or a negative errno.
int claim_holds(const struct claim *c, bool names_moved);

// The same, when @now, the status of its inode by whichever name, is at hand: one system call less.
int claim_holds_as(const struct claim *c, const struct stat *now, bool names_moved);

// Could somebody write to the file when the claim is dropped, and its status tell nothing of that? Where
// timestamps are whole seconds, a write in the second of the mtime moves none, for the exchange that
// displaces the file has just set its ctime. An mtime of more than a day ahead is no time of such a write.
bool claim_may_end_unseen(const struct claim *c);

// Does somebody wait for us in open(2), to write?
bool claim_is_broken(const struct claim *c);

void claim_drop(struct claim *c);

// Claims again, whether that claim lasts or not: 1 if the file is as @c->st says, ctime included; 0: somebody
// has changed it, writes it, or waits in open(2) to do so; or a negative errno. *@ret_shared: somebody else
// has it open, if only for reading. If not, who opens it now waits for claim_end(), and that is all there is
// left to do.
int claim_retake(const struct claim *c, bool *ret_shared);

// Has anybody locked it, by flock(2) or fcntl(2)? Who tries to lock it at this very moment may be refused.
bool claim_is_locked(const struct claim *c);

// Closes the claim's fd, which takes the lease with it. With an fd of -1 it does nothing.
void claim_end(struct claim *c);

// Once a process: a lease that breaks sends a signal that would kill a program that does not handle it;
// ignores it.
void claim_init(void);
