#include "hashify/report.h"

#include "hashify/policy.h"
#include "hashify/rehash.h"
#include "hashify/text.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void report_init(struct report *r, bool verbose, bool dry_run)
{
	*r = (struct report){ .verbose = verbose, .dry_run = dry_run };
	mutex_init(&r->lock);
}

void report_init_silent(struct report *r)
{
	report_init(r, false, true);
	r->silent = true;
}

void report_destroy(struct report *r)
{
	mutex_destroy(&r->lock);
}

// Was an error of this kind not said before? When too many kinds of errno have come, the others are only
// counted.
static bool is_new(struct report *r, enum reason reason, int err)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&r->lock);
	for (size_t i = 0; i < sizeof(r->said[0]) / sizeof(r->said[0][0]); i++) {
		if (r->said[reason][i] == err)
			return false;
		if (r->said[reason][i] == 0) {
			r->said[reason][i] = err;
			return true;
		}
	}
	return false;
}

static char *printable_path(const struct report_place *place)
{
	auto_free char *path = tree_path(place->tree, place->dir, place->name);
	return path ? text_printable(path) : NULL;
}

static void say_error(struct report *r, const struct report_place *place, enum reason reason, int err)
{
	bool first = is_new(r, reason, err);
	if (!first && !r->verbose)
		return;
	auto_free char *path = printable_path(place);
	if (!path)
		return;
	const char *more = first && !r->verbose ? " (others like this are only counted; -v names them)" : "";
	log_error("%s: %s: %s%s", path, reason_text(reason), strerror(-err), more);
}

static void say(const struct report_place *place, const char *what)
{
	auto_free char *path = printable_path(place);
	if (path)
		log_info("%s: %s", path, what);
}

struct report_place report_place_of(const struct tree *trees, const struct tree_file *f)
{
	return (struct report_place){ &trees[f->guest], f->dir, f->name };
}

void report_skip(struct report *r, struct tally *t, const struct report_place *place, enum reason reason,
		 int err)
{
	t->skipped[reason]++;
	if (r->silent)
		return;
	if (reason_is_error(reason))
		say_error(r, place, reason, err);
	else if (r->verbose)
		say(place, reason_text(reason));
}

char *report_policy_text(const char *root, int err, int line)
{
	char *text = NULL;
	int r = 0;
	if (line > 0)
		r = asprintf(&text,
			     "%s/" POLICY_GUEST_DIR "/" POLICY_GUEST_FILE
			     ":%d: is no pattern; expected one a line, " POLICY_PATTERN
			     "; all of the guest is left alone",
			     root, line);
	else if (err == -EFBIG || err == -EINVAL)
		r = asprintf(
			&text,
			"%s/" POLICY_GUEST_DIR "/" POLICY_GUEST_FILE
			": is no list of patterns; expected a regular file of 16 KiB at most; all of the "
			"guest is left alone",
			root);
	return r < 0 ? NULL : text;
}

void report_policy(struct report *r, struct tally *t, const struct report_place *place, int err, int line)
{
	auto_free char *path = printable_path(place);
	auto_free char *text = path && !r->silent ? report_policy_text(path, err, line) : NULL;
	if (!text) {
		report_skip(r, t, place, REASON_POLICY, err);
		return;
	}
	t->skipped[REASON_POLICY]++;
	log_error("%s", text);
}

void report_object(struct report *r, struct tally *t, const struct report_place *place)
{
	t->objects++;
	if (r->verbose)
		say(place, r->dry_run ? "would become an object" : "is an object now");
}

void report_link(struct report *r, struct tally *t, const struct report_place *place, uint64_t freed)
{
	t->linked++;
	t->freed += freed;
	if (r->verbose)
		say(place, r->dry_run ? "would be linked" : "linked");
}

void report_not_unshared(const struct report_place *place, int err)
{
	auto_free char *path = printable_path(place);
	log_error("%s: cannot be given a copy of its own: %s", path ? path : "", strerror(-err));
}

void report_not_apart(const struct report_place *place, int err)
{
	auto_free char *path = printable_path(place);
	log_error(
		"%s: several guests have hard links to it, and it cannot be marked and linked into the store: %s; "
		"give each guest a copy, or what one writes there, the others read",
		path ? path : "", strerror(-err));
}

void report_unshared(struct report *r, const struct report_place *place)
{
	if (r->verbose)
		say(place, r->dry_run ? "would get a copy of its own" : "has a copy of its own now");
}

void report_store(int err)
{
	log_error("in " STORE_DIR
		  "/tmp: a displaced file cannot be put back or dropped: %s; the next pass tries again",
		  strerror(-err));
}

void report_removed(struct report *r, const char *path, int err)
{
	if (err < 0)
		log_error(STORE_DIR "/%s: cannot be removed: %s; expected a file that can be; "
				    "mend that and run hashify gc again",
			  path, strerror(-err));
	else if (r->verbose)
		log_info(STORE_DIR "/%s: %s", path, r->dry_run ? "would be removed" : "removed");
}

void report_damaged(struct report *r, const struct object_key *key, unsigned damage, int err)
{
	char path[OBJECT_PATH_SIZE], words[DAMAGE_WORDS_SIZE];
	object_path_print(key, path);
	damage_print(damage, words);
	if (err < 0)
		log_error(STORE_DIR "/%s: damaged (%s), and cannot be moved to " STORE_DIR "/quarantine: %s; "
				    "expected a store that can be written; mend that and verify again",
			  path, words, strerror(-err));
	else
		log_error(STORE_DIR "/%s: damaged (%s); %s to " STORE_DIR
				    "/quarantine; expected what its name "
				    "says; restore the guests' files that are listed below from a backup",
			  path, words, r->dry_run ? "would be moved" : "moved");
}

void report_unchecked(const struct object_key *key, int err)
{
	char path[OBJECT_PATH_SIZE];
	object_path_print(key, path);
	log_error(STORE_DIR "/%s: cannot be checked: %s; expected an object that can be read; "
			    "mend that and verify again",
		  path, strerror(-err));
}

void report_bad_object(const struct object_key *key, int err)
{
	char path[OBJECT_PATH_SIZE];
	object_path_print(key, path);
	const char *what = err == -EBADMSG || err == -E2BIG    ? "is not what its name says"
			   : err == -ETXTBSY || err == -EAGAIN ? "is being written to, beside hashfs"
							       : strerror(-err);
	log_warning(STORE_DIR "/%s: %s; expected an untouched object; it is not used", path, what);
}
