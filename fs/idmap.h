// The pool with other ids than on disk: an id-mapped clone of its mount (mount_setattr(2), Linux 5.12) shows
// and takes them shifted, so that guests with ids of their own share files that belong to one root on disk.
// The mount of a guest cannot be id-mapped itself: the kernel asks for FUSE_ALLOW_IDMAP (6.12), which libfuse
// 3.18 does not negotiate.
#pragma once

#include <stdbool.h>

// What the kernel shows where an id has no other (fs.overflowuid).
#define IDMAP_NONE 65534

// Is @map the path of a user namespace, or ranges "TYPE:DISK:SHOWN:COUNT" with spaces between, TYPE being u,
// g or b for both? As mount(8) has it for X-mount.idmap.
bool idmap_is_valid(const char *map);

// Gives @mount, the root of a detached mount in which nothing is open for writing, the ids of @map. -EINVAL:
// the filesystem cannot, or the map is none the kernel takes; -EPERM: the mount has other ids already.
int idmap_apply(int mount, const char *map);
