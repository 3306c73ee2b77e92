// Marks, which a guest may have written: what is taken for one names this inode, and its digest is read as it
// was written. An input is the number of the inode and the xattr.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/mark.h"
#include "store/store.h"
#include "store/xattr.h"
#include "tests/fuzz/fuzz.h"

static enum mark_space space;

static int make_file(void)
{
	int pool;
	struct store *s = fuzz_store(&pool);

	space = s->marks;
	store_close(s);
	int fd = openat(pool, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fuzz_check(fd >= 0);
	return fd;
}

// The same digest in the one way in which we write it.
static void check(int fd, const struct stat *st, struct digest digest, const char *text)
{
	char again[64];
	struct digest same;

	fuzz_check(mark_write(space, fd, st, digest) == 0 && mark_read(space, fd, st, &same) == 0);
	fuzz_check(digest.high == same.high && digest.low == same.low);
	const char *name = space == MARK_TRUSTED ? XATTR_MARK_TRUSTED : XATTR_MARK_USER;
	int64_t size = xattr_get(fd, name, again, sizeof(again) - 1);
	fuzz_check(size > 32 && strlen(text) > 32);
	again[size] = '\0';
	fuzz_check(strtoull(text + 2, NULL, 10) == st->st_ino);
	fuzz_check(strcmp(again + size - 32, text + strlen(text) - 32) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct stat st = { .st_mode = S_IFREG, .st_nlink = 2 };
	struct digest digest;
	uint64_t ino;

	if (fd < 0)
		fd = make_file();
	if (size < sizeof(ino))
		return 0;
	memcpy(&ino, data, sizeof(ino));
	st.st_ino = ino;
	data += sizeof(ino), size -= sizeof(ino);
	const char *name = space == MARK_TRUSTED ? XATTR_MARK_TRUSTED : XATTR_MARK_USER;
	if (xattr_set(fd, name, (const char *)data, size, 0) < 0)
		return 0;
	fuzz_check(mark_is_link(space, fd, &st) == 1);
	if (mark_read(space, fd, &st, &digest) == 0) {
		char *text = strndup((const char *)data, size);
		check(fd, &st, digest, text);
		free(text);
	}
	return 0;
}
