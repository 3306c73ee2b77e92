#include "fs/lock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "store/base/cleanup.h"
#include "store/base/log.h"
#include "store/claim.h"
#include "store/displaced.h"
#include "store/marked.h"
#include "store/registry.h"
#include "store/replace.h"
#include "store/store.h"

enum taken {
	TAKEN,
	TAKEN_AS_IT_IS,  // something is displaced there, and others have the lock, too
};

static int cannot_lock(const char *path, int r)
{
	if (r == -EWOULDBLOCK)
		log_error("%s: hashify is at work there; mount again when it is done", path);
	else
		log_error("%s/%s: cannot lock the store: %s", path, STORE_DIR, strerror(-r));
	return r;
}

static int cannot_recover(const char *path, int r)
{
	log_error(
		"%s/%s/tmp: a pass of hashify was killed, and what it has left there cannot be put in order: "
		"%s; expected files that can be moved back to their guests, which would miss them; mend that, "
		"or run `hashify %s`, and mount again",
		path, STORE_DIR, strerror(-r), path);
	return r;
}

static void say_recovered(const char *path, const struct recovery *r)
{
	if (r->put_back + r->removed + r->kept > 0)
		log_info("%s: a pass of hashify was killed, and left %" PRIu64 " files: %" PRIu64
			 " put back into their guests, %" PRIu64 " removed, %" PRIu64
			 " of unknown origin kept in " STORE_DIR "/tmp",
			 path, r->put_back + r->removed + r->kept, r->put_back, r->removed, r->kept);
	if (r->broken > 0)
		log_warning("%s/%s/tmp/%s: a file%s%s cannot be put in order: %s (%" PRIu64
			    " such files); left there, or as kept-*; check the disk, save what can be read, "
			    "and remove it",
			    path, STORE_DIR, r->broken_name, *r->broken_path ? " of " : "", r->broken_path,
			    strerror(-r->broken_error), r->broken);
}

static int is_any(const struct object_key *key, void *arg)
{
	(void)key;
	(void)arg;
	return 1;
}

// A link that is not known for one would be written in place. The registry is held.
static int renew_marks(struct store *s, const char *path, uint64_t *ret)
{
	int r = marked_renew_changed(s, ret);
	if (*ret > 0)
		log_warning("%s/%s: %" PRIu64
			    " objects had lost their marks, as after a restore of some files, and have "
			    "got them again",
			    path, STORE_DIR, *ret);
	if (r < 0)
		log_error(
			"%s/%s: not all objects that have lost their marks can get them again: %s; run `hashify "
			"verify %s`, which names them, and mount again",
			path, STORE_DIR, strerror(-r), path);
	return r;
}

static int recover(struct store *s, const char *path)
{
	struct recovery done;

	claim_init();
	int r = replace_recover(s, &done);
	if (r < 0)
		return cannot_recover(path, r);
	say_recovered(path, &done);
	return 0;
}

// The lock is ours alone. Until it is shared again, no pass can come in between.
static int recover_and_share(struct store *s, const char *path)
{
	int r = store_lock_pass(s);
	if (r < 0)
		return cannot_lock(path, r);
	r = recover(s, path);
	if (r == 0) {
		r = store_lock(s, STORE_SHARED);
		if (r < 0)
			cannot_lock(path, r);
	}
	store_unlock_pass(s);
	return r;
}

// Says what is wrong. Returns TAKEN… or a negative errno.
static int take(struct store *s, const char *path, uint64_t *ret_renewed)
{
	// Mounts that begin at the same time wait until all is in order.
	auto_close int hold = registry_hold(s);
	int r = hold < 0 ? hold : store_lock(s, STORE_SHARED);
	if (r < 0)
		return cannot_lock(path, r);
	r = renew_marks(s, path, ret_renewed);  // before recovery, which asks objects
	if (r < 0)
		return r;
	r = displaced_each(s, is_any, NULL);
	if (r <= 0)
		return r < 0 ? cannot_lock(path, r) : TAKEN;

	r = store_lock(s, STORE_EXCLUSIVE);
	if (r == 0)
		return recover_and_share(s, path);
	if (r == -EWOULDBLOCK)
		r = store_lock(s, STORE_SHARED);
	return r < 0 ? cannot_lock(path, r) : TAKEN_AS_IT_IS;
}

static int is_mount(const struct registration *r, void *arg)
{
	(void)r;
	(void)arg;
	return 1;
}

static int refuse_unless_mounted(struct store *s, const char *path)
{
	// A mount that lives has put in order what could be.
	int r = registry_each(s, is_mount, NULL);
	if (r == 1)
		return 0;
	log_error(
		"%s: a pass of hashify was killed, and what it has left cannot be put in order while another "
		"program looks at the pool (`hashify stat`, perhaps); mount again when that has ended",
		path);
	return r < 0 ? r : -EBUSY;
}

int lock_store(struct store *s, const char *path)
{
	uint64_t renewed = 0;

	int r = take(s, path, &renewed);
	if (r == TAKEN_AS_IT_IS)
		r = refuse_unless_mounted(s, path);
	if (r == 0 && renewed > 0 && registry_each(s, is_mount, NULL) == 1)
		log_warning(
			"%s: what was mounted before does not know that; unmount that, and mount it again",
			path);
	return r;
}
