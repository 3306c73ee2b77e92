#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/fd.h"
#include "store/store.h"

// In memory: it is opened for each input.
static char path[64];

static void remove_store(void)
{
	char command[sizeof(path) + 16];
	snprintf(command, sizeof(command), "rm -rf %s", path);
	if (system(command) != 0)
		perror(command);
}

struct store *fuzz_store(int *ret_pool)
{
	static int pool = -1;
	struct store *s;

	if (pool < 0) {
		snprintf(path, sizeof(path), "/dev/shm/hashfs-fuzz.%d", (int)getpid());
		fuzz_check(mkdir(path, 0700) == 0);
		atexit(remove_store);
		pool = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fuzz_check(pool >= 0 && store_create(pool) == 0);
	}
	*ret_pool = pool;
	fuzz_check(store_open(pool, &s) == 0);
	return s;
}

void fuzz_write(int dir, const char *name, const uint8_t *data, size_t size)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fuzz_check(fd >= 0 && fd_pwrite_all(fd, data, size, 0) == 0);
	fd_close(fd);
}

size_t fuzz_read(int dir, const char *name, uint8_t *ret, size_t size)
{
	struct stat st;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	fuzz_check(fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size <= size);
	fuzz_check(fd_pread_all(fd, ret, size, 0) == st.st_size);
	fd_close(fd);
	return (size_t)st.st_size;
}

void fuzz_check(int holds)
{
	if (!holds)
		abort();
}
