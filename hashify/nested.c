#include "hashify/nested.h"

#include "hashify/guests.h"
#include "hashify/text.h"
#include "hashify/tree.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/log.h"
#include "store/pool.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

// Where it cannot be told, it is in use.
static bool is_no_file(int error)
{
	return error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -ENXIO || error == -EXDEV;
}

static bool is_locked(int lock)
{
	return flock(lock, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

bool nested_in_use(int dir)
{
	auto_close int lock = beneath_open_file(dir, STORE_DIR "/lock");
	return lock < 0 ? !is_no_file(lock) : is_locked(lock);
}

// A pass walks a guest more than once.
static bool is_held(int lock, const struct tree_stores *s)
{
	struct stat st, held;

	if (fstat(lock, &st) < 0)
		return false;
	for (unsigned i = 0; i < s->count; i++)
		if (fstat(s->locks[i], &held) == 0 && held.st_dev == st.st_dev && held.st_ino == st.st_ino)
			return true;
	return false;
}

bool nested_hold(int dir, struct tree_stores *s)
{
	auto_close int lock = beneath_open_file(dir, STORE_DIR "/lock");
	if (lock < 0)
		return is_no_file(lock);
	if (is_held(lock, s))
		return true;
	if (s->count == sizeof(s->locks) / sizeof(*s->locks) || is_locked(lock))
		return false;
	s->locks[s->count++] = take_fd(&lock);
	return true;
}

// Calls @visit for each guest that has one, those that @policy wants, with its directory, until it returns
// false.
static void each(int pool, const struct policy *policy, bool (*visit)(const char *guest, int dir, void *arg),
		 void *arg)
{
	struct tree *trees;
	size_t count;
	bool on = true;

	if (guests_list(pool, policy, &trees, &count) < 0)
		return;  // whoever uses the guests will say so
	for (size_t i = 0; i < count; i++) {
		auto_close int dir = beneath_open(pool, trees[i].guest, O_PATH | O_DIRECTORY, 0);
		if (on && dir >= 0 && pool_has_store(dir))
			on = visit(trees[i].guest, dir, arg);
		tree_free(&trees[i]);
	}
	free(trees);
}

struct finding {
	bool in_use;
	char *guest;
};

static bool find(const char *guest, int dir, void *arg)
{
	struct finding *f = arg;
	if (f->in_use && !nested_in_use(dir))
		return true;
	f->guest = strdup(guest);
	return false;
}

char *nested_find(int pool, bool in_use)
{
	struct finding f = { .in_use = in_use };
	each(pool, NULL, find, &f);
	return f.guest;
}

static bool warn(const char *guest, int dir, void *arg)
{
	const char *path = arg;
	auto_free char *name = text_printable(guest);
	(void)dir;
	if (name)
		log_warning(
			"%s/%s: has a store of its own (" STORE_DIR
			"), and its links to that are not shared with "
			"other guests; run hashify unshare %s/%s, remove that store, and run hashify again",
			path, name, path, name);
	return true;
}

void nested_warn(const char *path, int pool, const struct policy *policy)
{
	each(pool, policy, warn, (void *)path);
}
