// Stands in for pjdfstest's program (tools/pjdfstest.sh): before it runs the real one, $PJDFSTEST, it makes every
// file of the test's directory a link, as hashify would, but of empty files too: the tests' files mostly are.
// The link's second name, in $TWINS, tells what no guest may ever change. $TEST_NATIVE is the directory on the
// backing filesystem.
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MARK "trusted.hashfs.object"  // store/mark.h

static const char *twins;

static void make_link(int dir, const char *name)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		err(99, "%s", name);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return;

	char path[300], mark[64], twin[4096];
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
	int size = snprintf(mark, sizeof(mark), "1 %ju 00000000000000000000000000000000", (uintmax_t)st.st_ino);
	snprintf(twin, sizeof(twin), "%s/%ju-%o-%u-%u-%jd-%jd.%09ld0", twins, (uintmax_t)st.st_ino,
		 st.st_mode & 07777, st.st_uid, st.st_gid, (intmax_t)st.st_size,
		 (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	if (setxattr(path, MARK, mark, (size_t)size, 0) < 0)
		err(99, "%s: mark", name);
	if (linkat(dir, name, AT_FDCWD, twin, 0) < 0)
		err(99, "%s: link to %s", name, twin);
}

// By file descriptors, for paths beyond PATH_MAX; without the directories' access times, which the tests look at.
static void make_links(int parent, const char *name)
{
	int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);
	DIR *d = dir < 0 ? NULL : fdopendir(dir);
	struct dirent *e;

	if (!d)
		err(99, "%s", name);
	while ((e = readdir(d))) {
		if (e->d_type == DT_REG)
			make_link(dir, e->d_name);
		else if (e->d_type == DT_DIR && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			make_links(dir, e->d_name);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	(void)argc;
	const char *program = getenv("PJDFSTEST"), *native = getenv("TEST_NATIVE");

	twins = getenv("TWINS");
	if (!program || !native || !twins)
		errx(99, "PJDFSTEST, TEST_NATIVE and TWINS are not set; run tools/pjdfstest.sh");
	if (mkdir(twins, 0755) < 0 && errno != EEXIST)
		err(99, "%s", twins);
	make_links(AT_FDCWD, native);
	execv(program, argv);
	err(99, "%s", program);
}
