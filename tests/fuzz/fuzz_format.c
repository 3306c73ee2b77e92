// The format file of a store: it is exactly what is written there, or the store is refused.
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/base/fd.h"
#include "store/store.h"
#include "tests/fuzz/fuzz.h"

// Is @text what store.h and docs/format.md say of @s?
static void check(const struct store *s, const char *text, size_t size)
{
	char wanted[256];
	const char *inode = strstr(text, "\ninode ");

	fuzz_check(inode && strlen(text) == size);
	uint64_t number = strtoull(inode + 7, NULL, 10);
	snprintf(wanted, sizeof(wanted),
		 "hashfs-store 1\ndigest xxh3-128\nseed %016" PRIx64
		 "\nidentity mode,uid,gid,mtime,xattr\nmarks %s\ninode %" PRIu64 "\n",
		 s->seed, s->marks == MARK_USER ? "user" : "trusted", number);
	fuzz_check(strcmp(text, wanted) == 0 && s->copied == (number != s->ino));
}

// Its own is taken, and no other store's.
static int make(int *ret_pool)
{
	char text[1024];
	struct store *s = fuzz_store(ret_pool);
	int dir = fcntl(s->dir, F_DUPFD_CLOEXEC, 0);
	size_t size = fuzz_read(dir, "format", (uint8_t *)text, sizeof(text) - 1);

	text[size] = '\0';
	fuzz_check(!s->copied);
	check(s, text, size);
	store_close(s);
	return dir;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int dir = -1, pool;
	struct store *s;

	if (dir < 0)
		dir = make(&pool);
	fuzz_write(dir, "format", data, size);
	if (store_open(pool, &s) == 0) {
		char *text = strndup((const char *)data, size);
		check(s, text, size);
		free(text);
		store_close(s);
	}
	return 0;
}
