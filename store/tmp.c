#include "store/tmp.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "store/base/fd.h"
#include "store/store.h"

int tmp_open(struct store *s)
{
	int fd = openat(s->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int tmp_link_as(struct store *s, int fd, const char *name)
{
	if (linkat(fd, "", s->tmp, name, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOENT)  // what those get who may not link by fd
		return -errno;
	return linkat(AT_FDCWD, fd_path(fd).text, s->tmp, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int tmp_link(struct store *s, int fd, char ret[TMP_NAME_SIZE])
{
	static atomic_uint_fast64_t last;
	int r;

	do {
		// Unique in this process by the counter; a dead one's left-over may have had our pid.
		snprintf(ret, TMP_NAME_SIZE, "copy-%d-%" PRIu64, (int)getpid(),
			 (uint64_t)atomic_fetch_add(&last, 1));
		r = tmp_link_as(s, fd, ret);
	} while (r == -EEXIST);
	return r;
}

int tmp_remove(struct store *s, const char *name)
{
	return unlinkat(s->tmp, name, 0) < 0 ? -errno : 0;
}
