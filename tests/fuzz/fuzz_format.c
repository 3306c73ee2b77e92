// The format file of a store: it is exactly what is written there, or the store is refused.
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "store/base/fd.h"
#include "store/store.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int dir = -1, pool;
	struct store *s;

	if (dir < 0) {
		s = fuzz_store(&pool);
		dir = fcntl(s->dir, F_DUPFD_CLOEXEC, 0);
		store_close(s);
	}
	fuzz_write(dir, "format", data, size);
	if (store_open(pool, &s) == 0) {
		fuzz_check(size > 13 && memcmp(data, "hashfs-store ", 13) == 0);
		store_close(s);
	}
	return 0;
}
