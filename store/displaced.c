#include "store/displaced.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/sys.h"
#include "store/exchange.h"
#include "store/store.h"

void displaced_name_print(const char *dir, const struct object_key *key, unsigned worker, uint64_t number,
			  char ret[TMP_NAME_SIZE])
{
	char object[OBJECT_NAME_SIZE];

	assert(strlen(dir) < TMP_WORKER_SIZE);
	object_name_print(key, object);
	char *end = stpcpy(stpcpy(ret, dir), object);
	snprintf(end, (size_t)(ret + TMP_NAME_SIZE - end), ".%u.%" PRIu64, worker, number);
}

static const char *base_of(const char *name)
{
	const char *slash = strrchr(name, '/');
	return slash ? slash + 1 : name;
}

int displaced_name_parse(const char *name, struct object_key *ret)
{
	char object[OBJECT_NAME_SIZE];
	name = base_of(name);
	const char *dot = strchr(name, '.');

	if (!dot || (size_t)(dot - name) >= sizeof(object))
		return -EINVAL;
	memcpy(object, name, (size_t)(dot - name));
	object[dot - name] = '\0';
	return object_name_parse(object, ret);
}

struct visit {
	int (*each)(const struct object_key *key, void *arg);
	void *arg;
};

static int visit(const char *name, void *arg)
{
	const struct visit *v = arg;
	struct object_key key;
	return displaced_name_parse(name, &key) == 0 ? v->each(&key, v->arg) : 0;
}

int displaced_each(struct store *s, int (*each)(const struct object_key *key, void *arg), void *arg)
{
	return tmp_each(s, visit, &(struct visit){ each, arg });
}

bool displaced_is_transient(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

// A guest can make its file immutable by a descriptor, and then it cannot be renamed. Takes that off and
// returns the file's fd, with the flags it had; -EPERM: it was none of that.
static int thaw(struct store *s, const char *tmp, unsigned *ret_flags)
{
	struct stat st;

	if (fstatat(s->tmp, tmp, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return -EPERM;  // nothing is to be opened that does something then
	auto_close int fd = openat(s->tmp, tmp, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = sys_thaw(fd, ret_flags);
	return r < 0 ? r : take_fd(&fd);
}

// Calls @step; where that is not permitted, again without what forbids it.
static int with_thawed(struct store *s, const char *tmp,
		       int (*step)(struct store *s, const char *tmp, void *arg), void *arg)
{
	unsigned flags = 0;

	int r = step(s, tmp, arg);
	if (r != -EPERM)
		return r;
	auto_close int fd = thaw(s, tmp, &flags);
	if (fd < 0)
		return r;
	r = step(s, tmp, arg);
	sys_flags_set(fd, flags);
	return r;
}

static int remove_name(struct store *s, const char *tmp, void *arg)
{
	(void)arg;
	return tmp_remove(s, tmp);
}

int displaced_drop(struct store *s, const char *tmp)
{
	return with_thawed(s, tmp, remove_name, NULL);
}

struct place {
	int dir;
	const char *name;
};

static int exchange_with(struct store *s, const char *tmp, void *arg)
{
	const struct place *p = arg;
	return exchange_once(s, tmp, p->dir, p->name);
}

int displaced_exchange(struct store *s, const char *tmp, int dir, const char *name)
{
	return with_thawed(s, tmp, exchange_with, &(struct place){ dir, name });
}

#define KEPT "kept-"

static int rename_to_kept(struct store *s, const char *tmp, void *arg)
{
	char kept[sizeof(KEPT "-4294967295") + TMP_NAME_SIZE];

	(void)arg;
	// A pass before may have kept another file of that name.
	for (unsigned number = 0;; number++) {
		snprintf(kept, sizeof(kept), KEPT "%s-%u", base_of(tmp), number);
		if (renameat2(s->tmp, tmp, s->tmp, kept, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
}

int displaced_keep(struct store *s, const char *tmp)
{
	return with_thawed(s, tmp, rename_to_kept, NULL);
}

bool displaced_is_kept(const char *name)
{
	return strncmp(name, KEPT, sizeof(KEPT) - 1) == 0;
}
