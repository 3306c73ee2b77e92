#include "fs/twin.h"

#include <errno.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs/cred.h"
#include "fs/hashfs.h"
#include "fs/node.h"
#include "store/base/cleanup.h"

static unsigned bucket(const struct node *n)
{
	return (unsigned)(n->at.ino % TWIN_LOCKS);
}

pthread_mutex_t *twin_hold(struct hashfs *fs, struct node *n)
{
	mutex_lock(node_lock(fs, n));
	bool has_twin = n->shadowed || node_is_split(n);
	unsigned b = bucket(n);
	mutex_unlock(node_lock(fs, n));
	return has_twin ? mutex_hold(&fs->twin_locks[b]) : NULL;
}

int twin_hold_owner(struct hashfs *fs, struct node *n, fuse_req_t req, pthread_mutex_t **ret_held)
{
	struct stat st;

	*ret_held = twin_hold(fs, n);
	if (!*ret_held || fuse_req_ctx(req)->uid == 0)
		return 0;
	int r = node_stat(fs, n, &st);
	if (r < 0)
		return r;
	return st.st_uid == fuse_req_ctx(req)->uid || cred_overrides(req, st.st_uid) ? 0 : -EPERM;
}

void twin_count_writer(struct hashfs *fs, const struct node *n, int by)
{
	if (n->shadowed)
		fs->twin_writers[bucket(n)] += (unsigned)by;
}

int twin_check_rights(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	return fs->twin_writers[bucket(n)] > n->writers ? -EBUSY : 0;
}
