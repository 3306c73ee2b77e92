#include "hashify/nested.h"

#include "hashify/guests.h"
#include "hashify/policy.h"
#include "hashify/text.h"
#include "hashify/tree.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/log.h"
#include "store/pool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool nested_has_store(int pool, const char *path)
{
	auto_close int dir = beneath_open(pool, path, O_PATH | O_DIRECTORY, 0);
	return dir >= 0 && pool_has_store(dir);
}

int nested_open(const struct place *outer, enum openpool_mode mode, struct place *ret)
{
	struct place p = { .path = strdup("") };
	int r = -1;

	if (p.path && asprintf(&p.pool_path, "%s/%s", outer->pool_path, outer->path) < 0)
		p.pool_path = NULL;
	if (p.pool_path)
		r = openpool_nested(p.pool_path, outer->pool.dir, outer->path, mode, &p.pool);
	if (r < 0) {
		free(p.pool_path);
		free(p.path);
		return -1;
	}
	*ret = p;
	return 0;
}

static void warn(const char *path, const char *guest)
{
	auto_free char *name = text_printable(guest);
	if (!name)
		return;
	log_warning("%s/%s: has a store of its own (" STORE_DIR
		    "), and its links to that are not shared with "
		    "other guests; run hashify unshare %s/%s, remove that store, and run hashify again",
		    path, name, path, name);
}

void nested_warn(const char *path, int pool, const struct policy *policy)
{
	struct tree *trees;
	size_t count;

	if (guests_list(pool, policy, &trees, &count) < 0)
		return;  // the pass will say so
	for (size_t i = 0; i < count; i++) {
		if (nested_has_store(pool, trees[i].guest))
			warn(path, trees[i].guest);
		tree_free(&trees[i]);
	}
	free(trees);
}
