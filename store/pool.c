#include "store/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/store.h"

// A store that we may not look into is one all the same: opening it will say so.
static bool has_store(int dir)
{
	struct stat st;
	return fstatat(dir, STORE_DIR "/format", &st, AT_SYMLINK_NOFOLLOW) == 0 || errno == EACCES;
}

int pool_find(const char *path, char **ret_path)
{
	auto_free char *at = realpath(path, NULL);
	if (!at)
		return -errno;

	for (;;) {
		auto_close int dir = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			return -errno;
		if (has_store(dir)) {
			if (ret_path) {
				*ret_path = at;
				at = NULL;
			}
			return take_fd(&dir);
		}
		if (strcmp(at, "/") == 0)
			return -ENODATA;
		char *slash = strrchr(at, '/');
		slash[slash == at] = '\0';
	}
}
