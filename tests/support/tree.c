#include "tests/support/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static size_t count_names(DIR *d)
{
	const struct dirent *e;
	size_t count = 0;

	assert_non_null(d);
	while ((e = readdir(d)))
		count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return count;
}

static int open_fds(void)
{
	return (int)count_names(opendir("/proc/self/fd"));
}

int tree_setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	t->fds = open_fds();
	strcpy(t->path, "/var/tmp/hashfs-unit.XXXXXX");
	assert_non_null(mkdtemp(t->path));
	t->dir = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(t->dir >= 0);
	*state = t;
	return 0;
}

int tree_teardown(void **state)
{
	struct tree *t = *state;

	close(t->dir);
	int leaked = open_fds() - t->fds;
	char command[128];  // it copes with paths of any length
	snprintf(command, sizeof(command), "rm -rf %s", t->path);
	assert_int_equal(system(command), 0);
	free(t);
	return leaked;
}

static void make_directories(const struct tree *t, const char *path)
{
	char dir[256];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
		mkdirat(t->dir, dir, 0755);
	}
}

void put(const struct tree *t, const char *path, const char *content)
{
	make_directories(t, path);
	int fd = openat(t->dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
}

int open_read(const struct tree *t, const char *path)
{
	int fd = openat(t->dir, path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

struct stat status(const struct tree *t, const char *path)
{
	struct stat st;
	assert_int_equal(fstatat(t->dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

char *content_of(const struct tree *t, const char *path)
{
	size_t size = (size_t)status(t, path).st_size;
	char *content = calloc(1, size + 1);
	int fd = open_read(t, path);

	assert_int_equal(read(fd, content, size), size);
	close(fd);
	return content;
}

void assert_content(const struct tree *t, const char *path, const char *expected)
{
	char *content = content_of(t, path);
	assert_string_equal(content, expected);
	free(content);
}

void assert_missing(const struct tree *t, const char *path)
{
	assert_int_not_equal(faccessat(t->dir, path, F_OK, AT_SYMLINK_NOFOLLOW), 0);
}

size_t names_in(const struct tree *t, const char *path)
{
	int fd = openat(t->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return count_names(fdopendir(fd));
}
