#include "hashify/guests.h"

#include "hashify/stop.h"
#include "hashify/walk.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool guests_may_be(const char *name)
{
	static const char *const no_guests[] = { ".", "..", STORE_DIR, "lost+found" };
	for (size_t i = 0; i < sizeof(no_guests) / sizeof(no_guests[0]); i++)
		if (strcmp(name, no_guests[i]) == 0)
			return false;
	return strncmp(name, STORE_DIR ".", strlen(STORE_DIR ".")) != 0;
}

static int may_be_guest(const struct dirent *d)
{
	return guests_may_be(d->d_name) && (d->d_type == DT_DIR || d->d_type == DT_UNKNOWN);
}

static bool is_directory(int pool, const struct dirent *d)
{
	struct stat st;
	if (d->d_type == DT_DIR)
		return true;
	return fstatat(pool, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int guests_list(int pool, const struct policy *policy, struct tree **ret, size_t *ret_count)
{
	struct dirent **names;
	int found = scandirat(pool, ".", &names, may_be_guest, compare_names);
	if (found < 0)
		return -errno;

	struct tree *trees = calloc((size_t)found + 1, sizeof(*trees));
	size_t count = 0;
	int r = trees ? 0 : -ENOMEM;
	for (int i = 0; i < found; i++) {
		bool wanted = !policy || policy_wants_guest(policy, names[i]->d_name);
		if (r == 0 && wanted && is_directory(pool, names[i])) {
			r = tree_init(&trees[count], names[i]->d_name, (uint32_t)count);
			count += r == 0;
		}
		free(names[i]);
	}
	free(names);
	if (r < 0) {
		while (count > 0)
			tree_free(&trees[--count]);
		free(trees);
		return r;
	}
	*ret = trees;
	*ret_count = count;
	return 0;
}

int64_t guests_walk_links(const struct walk *walk, int pool, struct tally *tally)
{
	struct tree *trees = NULL;
	size_t count = 0;
	int r = guests_list(pool, NULL, &trees, &count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		if (r == 0 && !stop_asked())
			r = walk_guest(walk, pool, &trees[i], tally);
		tree_free(&trees[i]);
	}
	free(trees);
	return r < 0 ? r : (int64_t)count;
}
