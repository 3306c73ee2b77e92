#include "store/base/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "store/base/cleanup.h"

// readdir(3) would take memory and four more system calls for each directory.
#define BUFFER_SIZE 16384

bool dir_is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int dir_identify(int dir, struct dir_id *ret)
{
	struct statx st;

	if (statx(dir, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) < 0)
		return -errno;
	bool told = st.stx_mask & STATX_BTIME;
	*ret = (struct dir_id){
		.ino = st.stx_ino,
		.born = told ? st.stx_btime.tv_sec * INT64_C(1000000000) + st.stx_btime.tv_nsec : 0,
	};
	return 0;
}

bool dir_id_equal(struct dir_id a, struct dir_id b)
{
	return a.ino == b.ino && a.born == b.born;
}

int dir_each(int parent, const char *name, int (*each)(int dir, const struct dirent64 *entry, void *arg),
	     void *arg)
{
	alignas(struct dirent64) char buffer[BUFFER_SIZE];
	auto_close int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	ssize_t size;
	while ((size = getdents64(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < size;) {
			const struct dirent64 *e = (const struct dirent64 *)(buffer + at);
			int r = dir_is_dots(e->d_name) ? 0 : each(fd, e, arg);
			if (r != 0)
				return r;
			at += e->d_reclen;
		}
	return size < 0 ? -errno : 0;
}
