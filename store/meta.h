// Gives a new file the metadata of another, in the order that survives: xattrs and ACLs come after the owner,
// because chown drops capabilities; the mode after the owner, because chown drops set-uid; times last.
#pragma once

#include <sys/stat.h>

// Copies owner, mode, xattrs (not ours), project, the flags a user set (`chattr`: nodump, noatime, sync) and
// times of @src, whose status is @st, to @dst, a new file's writable fd. Where an unprivileged process may
// not give the owner away, -EPERM: a copy that belongs to somebody else is no copy.
int meta_copy(int src, const struct stat *st, int dst);

// For a copy that rename(2) has refused with EXDEV: gives @dst the project that the directory @dir, which may
// be O_PATH, hands down (`chattr +P`), as a file made there has it. The object's is another one where guests
// have been given projects since it was made. -EXDEV: @dir hands none down, or @dst has it.
int meta_join_project(int dst, int dir);

// Gives @dst, a new and empty file, those flags of @src that it cannot get later: not copied on write,
// compressed or not (`chattr +C`, `+c`, `+m`). Where that cannot be it is stored like others.
void meta_prepare(int src, int dst);
