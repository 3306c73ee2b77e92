#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/base/cleanup.h"
#include "store/mark.h"
#include "store/object.h"
#include "store/quarantine.h"
#include "store/store.h"

static int mark_anew(const struct object_key *key, const struct stat *listed, void *arg)
{
	struct store *s = arg;
	char path[OBJECT_PATH_SIZE];
	struct stat st;

	(void)listed;
	object_path_print(key, path);
	auto_close int fd = openat(s->dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	// What is no object stays unmarked: opening it says so.
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != key->size)
		return 0;
	return mark_write(s->marks, fd, &st, key->digest);
}

// Whatever it is by now, guests' names that are links to it must stay that.
static int mark_quarantined(const struct object_key *key, const struct stat *listed, void *arg)
{
	struct store *s = arg;
	char path[OBJECT_PATH_SIZE];

	if (!S_ISREG(listed->st_mode))
		return 0;
	quarantine_path_print(key, path);
	auto_close int fd = openat(s->dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return mark_write(s->marks, fd, listed, key->digest);
}

int store_renew(struct store *s)
{
	uint64_t foreign = 0;

	int r = object_each(s, OBJECT_ALL, false, mark_anew, s, &foreign);
	if (r == 0)
		r = quarantine_each(s, mark_quarantined, s, &foreign);
	return r < 0 ? r : store_rewrite_format(s);
}
