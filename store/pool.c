#include "store/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/store.h"

// A store that we may not look into is one all the same: opening it will say so.
bool pool_has_store(int dir)
{
	struct stat st;
	return fstatat(dir, STORE_DIR "/format", &st, AT_SYMLINK_NOFOLLOW) == 0 || errno == EACCES;
}

// Opens @path, or -1.
static int open_if_pool(const char *path)
{
	auto_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir >= 0 && pool_has_store(dir) ? take_fd(&dir) : -1;
}

// The next directory on the way from the root to @path, which has it up to *@length. False: that was the
// last.
static bool next_directory(const char *path, size_t *length)
{
	size_t next = *length + 1;

	if (path[*length] == '\0' || path[next] == '\0')
		return false;
	next += strcspn(path + next, "/");
	*length = next;
	return true;
}

int pool_find(const char *path, char **ret_path)
{
	auto_free char *whole = realpath(path, NULL);
	auto_free char *at = whole ? strdup(whole) : NULL;
	if (!at)
		return -errno;

	size_t length = 0;
	auto_close int dir = open_if_pool("/");
	if (dir >= 0)
		length = 1;
	while (dir < 0 && next_directory(whole, &length)) {
		memcpy(at, whole, length);
		at[length] = '\0';
		dir = open_if_pool(at);
	}
	if (dir < 0)
		return -ENODATA;
	if (ret_path) {
		at[length] = '\0';
		*ret_path = at;
		at = NULL;
	}
	return take_fd(&dir);
}
