// Two nodes for one file: one that was open when it was broken, and that by which paths lead to it since.
// What the kernel knows of the file's owner, mode and capabilities by the one may be news to the other, and
// it checks by that.
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "fs/fuse.h"

struct hashfs;
struct node;

// Locks what the file of @n has for rights, if there is another node for it, or may be one in a moment.
// Called after @n was broken, where that is to be. For use with auto_unlock.
pthread_mutex_t *twin_hold(struct hashfs *fs, struct node *n);

// May the caller of @req do what is the owner's alone? -EPERM. A file that has been taken from its owner
// would still obey him by the node that does not know. The answer holds while *@ret_held does, unless that is
// NULL.
int twin_hold_owner(struct hashfs *fs, struct node *n, fuse_req_t req, pthread_mutex_t **ret_held);

// Called under node_lock(): an open of @n for writing begins (1) or ends (-1). It begins with twin_hold().
void twin_count_writer(struct hashfs *fs, const struct node *n, int by);

// Called with twin_hold(): may the file be given set-user-ID, set-group-ID or capabilities by @n? -EBUSY: it
// is open for writing by another node, and to the kernel a write by that takes nothing off. (So it is said,
// by chance, of one in TWIN_LOCKS of other such files.)
int twin_check_rights(struct hashfs *fs, struct node *n);
