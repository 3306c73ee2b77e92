// Files of a pool that are mounted by themselves somewhere, or have something mounted on them: a container's
// resolv.conf, mostly. rename(2) of such a name is allowed unless the mount is in the caller's own namespace,
// and takes the mount away from everybody else; what is written through a mount of a file goes to the file
// that was mounted, whatever has its name since. See mount_namespaces(7), and detach_mounts() in Linux.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mounts {
	uint64_t *inos;  // owned; on the pool's filesystem, ascending
	size_t count;
};

// Fills @ret with those of @pool that there are now, in all mount namespaces that a process lives in. One
// that we may not look into is left out, and what lies on a mount that a root changed by chroot(2) hides.
// -ENOMEM, or the error of reading /proc.
int mounts_load(int pool, struct mounts *ret);
void mounts_free(struct mounts *m);

bool mounts_has(const struct mounts *m, uint64_t ino);
