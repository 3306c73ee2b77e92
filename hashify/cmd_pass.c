#include "hashify/cmd_pass.h"

#include "hashify/command.h"
#include "hashify/guests.h"
#include "hashify/nested.h"
#include "hashify/openpool.h"
#include "hashify/pass.h"
#include "hashify/pass_args.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/text.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"
#include "store/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void print_json_whatif(const struct pass_result *r)
{
	const struct whatif *w = &r->whatif;
	if (r->has_whatif)
		printf("{\"mtime\": %" PRIu64 ", \"owner\": %" PRIu64 ", \"mode\": %" PRIu64
		       ", \"xattr\": %" PRIu64 "}",
		       w->mtime, w->owner, w->mode, w->xattrs + r->tally.if_xattrs);
	else
		printf("null");
}

static void print_whatif(const struct pass_result *r)
{
	const struct {
		const char *name;
		uint64_t bytes;
	} rows[] = {
		{ "mtime", r->whatif.mtime },
		{ "owner", r->whatif.owner },
		{ "mode", r->whatif.mode },
		{ "xattr", r->whatif.xattrs + r->tally.if_xattrs },
	};
	for (size_t i = 0; r->has_whatif && i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].bytes > 0)
			printf("--ignore=%s would free about %s more\n", rows[i].name,
			       text_size(rows[i].bytes).text);
}

static void print_json(const struct pass_args *o, const struct pass_result *r)
{
	const struct tally *t = &r->tally;
	command_begin_json(&o->common, "pool", r->signal);
	printf(", \"guests\": %zu, \"guests_elsewhere\": %zu, \"directories\": %" PRIu64
	       ", \"seen\": %" PRIu64,
	       r->guests, r->guests_elsewhere, t->directories, t->seen);
	printf(", \"already_linked\": %" PRIu64 ", \"objects_created\": %" PRIu64 ", \"linked\": %" PRIu64,
	       t->already, t->objects, t->linked);
	printf(", \"bytes_freed\": %" PRIu64 ", \"bytes_read\": %" PRIu64 ", \"skipped\": {", t->freed,
	       t->read);
	for (int i = REASON_NONE + 1; i < REASON_COUNT; i++)
		printf("%s\"%s\": %" PRIu64, i > REASON_NONE + 1 ? ", " : "", reason_key(i), t->skipped[i]);
	printf("}, \"would_free\": ");
	print_json_whatif(r);
	printf(", \"bad_objects\": %" PRIu64, t->bad_objects);
	printf(", \"errors\": %" PRIu64, pass_errors(r));
	printf(", \"recovered\": {\"removed\": %" PRIu64 ", \"put_back\": %" PRIu64 ", \"kept\": %" PRIu64
	       ", \"kept_before\": %" PRIu64 "}",
	       r->recovery.removed, r->recovery.put_back, r->recovery.kept + r->tally.kept,
	       r->recovery.kept_before);
	printf(", \"hard_links_marked\": %" PRIu64 ", \"foreign\": %" PRIu64 ", \"seconds\": %.3f}\n",
	       r->apart.files, r->foreign, r->seconds);
}

static void print_skipped(const struct tally *t)
{
	uint64_t skipped = 0;
	for (int i = 0; i < REASON_COUNT; i++)
		skipped += t->skipped[i];
	printf("  %10" PRIu64 "  left alone\n", skipped);
	for (int i = 0; i < REASON_COUNT; i++)
		if (t->skipped[i] > 0)
			printf("  %10" PRIu64 "    %s\n", t->skipped[i], reason_text(i));
}

static void print_text(const struct pass_args *o, const struct pass_result *r)
{
	const struct tally *t = &r->tally;
	auto_free char *pool = text_printable(o->common.operand);
	printf("%s: %zu %s, %" PRIu64 " %s in %" PRIu64 " %s%s%s\n", pool ? pool : "", r->guests,
	       text_plural(r->guests, "guest", "guests"), t->seen, text_plural(t->seen, "name", "names"),
	       t->directories, text_plural(t->directories, "directory", "directories"),
	       o->common.dry_run ? "; a dry run, nothing was changed" : "",
	       r->signal ? "; stopped early" : "");
	printf("  %10" PRIu64 "  were links already\n", t->already);
	printf("  %10" PRIu64 "  %s\n", t->linked, o->common.dry_run ? "would be linked" : "linked");
	printf("  %10" PRIu64 "  %s\n", t->objects,
	       o->common.dry_run ? "would become objects" : "became objects");
	print_skipped(t);
	if (r->guests_elsewhere > 0)
		printf("  %10zu  %s nothing: of another filesystem, or subvolumes (see Limits in README.md)\n",
		       r->guests_elsewhere, text_plural(r->guests_elsewhere, "guest shares", "guests share"));
	printf("%s %s, in %.1f s\n", text_size(t->freed).text, o->common.dry_run ? "would be freed" : "freed",
	       r->seconds);
	print_whatif(r);
}

static void print_recovery(const char *pool, const struct recovery *r)
{
	if (r->kept_before > 0)
		log_warning(
			"%s/" STORE_DIR "/tmp: %" PRIu64
			" %s there earlier, as the place was taken; look at kept-*, and remove what "
			"nobody misses",
			pool, r->kept_before,
			text_plural(r->kept_before, "guest's file was kept", "files of guests were kept"));
	if (r->removed + r->put_back + r->kept > 0)
		log_info("a pass that was killed had left %" PRIu64 " %s: %" PRIu64
			 " put back into their guests, %" PRIu64 " removed, %" PRIu64
			 " of unknown origin kept in " STORE_DIR "/tmp",
			 r->removed + r->put_back + r->kept,
			 text_plural(r->removed + r->put_back + r->kept, "file", "files"), r->put_back,
			 r->removed, r->kept);
}

static void print_broken(const char *pool, const struct recovery *r)
{
	auto_free char *path = text_printable(r->broken_path);
	if (r->broken > 0)
		log_warning("%s/" STORE_DIR "/tmp/%s: a file%s%s cannot be put in order: %s (%" PRIu64
			    " %s so); left there, or as kept-*; check the disk, save what can be read, and "
			    "remove it",
			    pool, r->broken_name, path && *path ? " of " : "", path ? path : "",
			    strerror(-r->broken_error), r->broken, text_plural(r->broken, "is", "are"));
}

static void print_kept(const char *pool, uint64_t kept)
{
	if (kept > 0)
		log_warning(
			"%s/" STORE_DIR "/tmp: %" PRIu64
			" %s by their guests while they were linked, and their places were taken; look at "
			"kept-*, and remove what nobody misses",
			pool, kept, text_plural(kept, "file was changed", "files were changed"));
}

static void print_index(const struct pass_args *o, const struct pass_result *r)
{
	const char *path = STORE_DIR "/index.sqlite";
	const char *made = o->common.dry_run ? "would be made" : "is made";

	if (r->index == INDEX_FOREIGN)
		log_warning("%s/%s: is of another store, version or --ignore; it %s anew, and this pass "
			    "reads more",
			    o->common.operand, path, made);
	if (r->index == INDEX_CORRUPT)
		log_warning("%s/%s: was damaged; it %s anew, and this pass reads more", o->common.operand,
			    path, made);
	if (r->index_error < 0)
		log_warning("%s/%s: %s; nothing was lost, but the next pass reads more than it need",
			    o->common.operand, path, strerror(-r->index_error));
}

static void print_apart(const struct pass_args *o, const struct apart *a)
{
	if (a->files > 0)
		log_warning("%s: %" PRIu64 " %s between guests that hashify has not made, as after a restore "
			    "without " STORE_DIR " or cp -al; %s, so that mounts keep the guests apart, "
			    "and not shared by later passes (copy a guest by cp -a for that)",
			    o->common.operand, a->files,
			    text_plural(a->files, "file is a hard link", "files are hard links"),
			    o->common.dry_run ? "would be marked" : "marked");
	if (a->error < 0)
		log_error("%s: hard links between guests were not looked for: %s", o->common.operand,
			  strerror(-a->error));
}

static void print_restored(const struct pass_args *o, const struct tally *t)
{
	if (t->restored > 0)
		log_info("%s: %" PRIu64
			 " %s to objects that had lost their names in the store, and have them again",
			 o->common.operand, t->restored,
			 text_plural(t->restored, "file of a guest is a link", "files of guests are links"));
}

static void print_damaged(const struct pass_args *o, uint64_t names)
{
	if (names > 0)
		log_warning("%s: %" PRIu64
			    " %s to damaged objects; run hashify verify %s, which names them, and restore "
			    "them from a backup",
			    o->common.operand, names,
			    text_plural(names, "name in guests is a link", "names in guests are links"),
			    o->common.operand);
}

static int finish(const struct pass_args *o, const struct pass_result *r, int err)
{
	command_say_early(&o->common, "hashify", err);
	print_recovery(o->common.operand, &r->recovery);
	print_broken(o->common.operand, &r->recovery);
	print_kept(o->common.operand, r->tally.kept);
	print_index(o, r);
	print_apart(o, &r->apart);
	print_restored(o, &r->tally);
	print_damaged(o, r->tally.skipped[REASON_DAMAGED]);
	if (o->common.json)
		print_json(o, r);
	else if (!o->common.quiet)
		print_text(o, r);
	return command_end(err, r->signal, pass_errors(r) == 0 ? EXIT_OK : EXIT_ERRORS);
}

// A name that is mistyped must not look like a guest without anything to share, nor leave a store behind.
// What cannot be opened is told later.
static int check_guests(const struct pass_args *o)
{
	auto_close int pool = open(o->common.operand, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < o->policy.guests.count && pool >= 0; i++) {
		const char *name = o->policy.guests.list[i];
		struct stat st;
		bool there = !strchr(name, '/') && fstatat(pool, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
		if (there && S_ISDIR(st.st_mode) && guests_may_be(name))
			continue;
		auto_free char *printable = text_printable(name);
		log_error("%s: has no guest %s; expected the name of a directory in it", o->common.operand,
			  printable ? printable : "");
		return EXIT_FATAL;
	}
	return -1;
}

// What is only for show, or to be kind, does not stop a pass.
static void start_helpers(struct pass_args *o, struct progress **ret_progress, struct throttle **ret_throttle)
{
	o->progress.dry_run = o->common.dry_run;
	if (o->common.quiet && o->progress.when == PROGRESS_AUTO)
		o->progress.when = PROGRESS_NO;
	*ret_progress = NULL;
	*ret_throttle = NULL;
	int r = progress_start(&o->progress, ret_progress);
	if (r < 0)
		log_warning("the progress cannot be shown: %s", strerror(-r));
	r = throttle_new(&o->throttle, ret_throttle);
	if (r < 0)
		log_warning("the pass cannot be slowed down: %s", strerror(-r));
}

// Takes @progress, which is gone before anything goes to the standard output.
static int run(const struct pass_args *o, const struct openpool *pool, struct progress *progress,
	       struct throttle *throttle)
{
	struct report report;
	report_init(&report, o->common.verbose, o->common.dry_run);
	const struct pass_options options = {
		.dry_run = o->common.dry_run,
		.sync = o->sync,
		.policy = &o->policy,
		.ignored = o->ignored,
		.memory = o->memory,
		.threads = o->jobs,
		.progress = progress,
		.throttle = throttle,
	};
	struct pass_result result;
	int err = pass_run(pool, &options, &report, &result);
	progress_stop(progress);
	int status = finish(o, &result, err);
	report_destroy(&report);
	return status;
}

static int open_and_run(struct pass_args *o)
{
	struct progress *progress;
	struct throttle *throttle;
	struct openpool pool;

	start_helpers(o, &progress, &throttle);
	int status = EXIT_FATAL;
	if (openpool(o->common.operand, o->common.dry_run ? OPENPOOL_LOOK : OPENPOOL_CHANGE, &pool) == 0) {
		stop_init();
		nested_warn(o->common.operand, pool.dir, &o->policy);
		status = run(o, &pool, progress, throttle);
		progress = NULL;
		openpool_close(&pool);
	}
	progress_stop(progress);
	throttle_free(throttle);
	return status;
}

int cmd_pass(int argc, char **argv)
{
	struct pass_args o;
	int status = pass_args_parse(argc, argv, &o);
	if (status < 0)
		status = check_guests(&o);
	if (status < 0)
		status = open_and_run(&o);
	pass_args_free(&o);
	return status;
}
