// The registration of a mount that is alive: whatever bytes it has, what is taken for one can be registered
// again, and is the same then.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/base/fd.h"
#include "store/registry.h"
#include "store/store.h"
#include "tests/fuzz/fuzz.h"

static int copy(const struct registration *r, void *arg)
{
	struct registration *to = arg;

	fuzz_check(r->pid > 0 && !to->source && strlen(registration_below(r)) <= strlen(r->source));
	*to = (struct registration){ r->pid, strdup(r->source), strdup(r->mountpoint) };
	return 0;
}

static void check(struct store *s, const struct registration *r)
{
	struct registration other = { 0 }, same = { 0 };

	fuzz_check(registry_add(s, r->source, "/mnt", &other) == -EBUSY);
	fuzz_check(strcmp(other.source, r->source) == 0 && strcmp(other.mountpoint, r->mountpoint) == 0);
	registration_free(&other);
	fuzz_check(unlinkat(s->dir, "mounts/1", 0) == 0);
	int fd = registry_add(s, r->source, r->mountpoint, &other);
	fuzz_check(fd >= 0 && registry_each(s, copy, &same) == 0);
	fuzz_check(strcmp(same.source, r->source) == 0 && strcmp(same.mountpoint, r->mountpoint) == 0);
	registration_free(&same);
	registry_remove(s, fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct store *s;
	struct registration found = { 0 };
	int pool;

	if (!s)
		s = fuzz_store(&pool);
	fuzz_write(s->dir, "mounts/1", data, size);
	int fd = openat(s->dir, "mounts/1", O_RDONLY | O_CLOEXEC);
	fuzz_check(fd >= 0 && flock(fd, LOCK_EX) == 0);
	registry_each(s, copy, &found);
	if (found.source)
		check(s, &found);
	registration_free(&found);
	fd_close(fd);
	return 0;
}
