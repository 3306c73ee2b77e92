#include "hashify/cmd_unshare.h"

#include "hashify/command.h"
#include "hashify/nested.h"
#include "hashify/options.h"
#include "hashify/place.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/text.h"
#include "hashify/unshare.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unshare_args {
	struct options common;
	bool sync;
};

static const char help[] =
	"Usage: hashify unshare [OPTIONS] PATH\n"
	"\n"
	"Gives the file PATH in a guest a copy of its own again, or every file beneath the directory PATH:\n"
	"a guest, a part of it, or the whole pool. The copy has content, holes, mode, owner, times,\n"
	"extended attributes and ACLs of what was shared. Files that no mount takes for links are left\n"
	"alone. No mount of hashfs may serve the pool meanwhile. The next pass shares again what is not\n"
	"excluded.\n"
	"\n"
	"  -n, --dry-run     change nothing, and report what a real run would\n"
	"  -v, --verbose     name each file, on stderr\n"
	"      --json        print the summary as JSON\n"
	"      --sync=batch  have each copy on the disk before it takes the link's place (the default)\n"
	"      --sync=none   do without: a power cut soon after may cost content of these files\n"
	"  -h, --help        show this help\n"
	"      --version     show the version\n"
	"\n"
	"Exit status: 0 all went well; 1 some files could not be copied, links are left in a pool where\n"
	"no guest is, or files of guests are left in its store (.hash/tmp/kept-*); 2 nothing was done,\n"
	"or it had to end early, because the disk is full for example: what is not done stays shared;\n"
	"130 or 143 stopped by SIGINT or SIGTERM.\n";

enum { OPT_SYNC = 256 };

static const struct option list[] = {
	{ "dry-run", no_argument, NULL, OPTIONS_DRY_RUN },
	{ "verbose", no_argument, NULL, OPTIONS_VERBOSE },
	{ "json", no_argument, NULL, OPTIONS_JSON },
	{ "sync", required_argument, NULL, OPT_SYNC },
	{ 0 },
};

static int set(int option, const char *value, struct options *options)
{
	(void)option;
	return options_sync(value, &((struct unshare_args *)options)->sync);
}

static const struct options_spec spec = { help, "PATH", list, set };

static void print_json(const struct options *o, const struct unshare_result *r)
{
	command_begin_json(o, "path", r->signal);
	printf(", \"unshared\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"changed\": %" PRIu64
	       ", \"errors\": %" PRIu64 ", \"left\": %" PRIu64 ", \"kept\": %" PRIu64 "}\n",
	       r->links, r->bytes, r->changed, r->errors, r->left, r->kept);
}

static void print_text(const struct options *o, const struct unshare_result *r)
{
	auto_free char *path = text_printable(o->operand);
	printf("%s: %" PRIu64 " %s %s %s own, %s%s%s\n", path ? path : "", r->links,
	       text_plural(r->links, "file", "files"), o->dry_run ? "would get" : "got",
	       text_plural(r->links, "a copy of its", "copies of their"), text_size(r->bytes).text,
	       o->dry_run ? "; a dry run, nothing was changed" : "", r->signal ? "; stopped early" : "");
	if (r->changed > 0)
		printf("  %" PRIu64 " %s changed by the guest meanwhile\n", r->changed,
		       text_plural(r->changed, "name was", "names were"));
	if (r->left > 0)
		printf("  %" PRIu64
		       " %s links still, of files that failed, where no guest is, or below what is "
		       "mounted in one: the pool is to keep its store\n",
		       r->left, text_plural(r->left, "object has", "objects have"));
}

static int finish(const struct options *o, const struct unshare_result *r, int err)
{
	if (err == -EBUSY)
		log_error("%s: a store in it is in use, by a mount of hashfs or another hashify", o->operand);
	command_say_early(o, "hashify unshare", err);
	if (r->kept > 0)
		log_warning(
			"%s: the pool's " STORE_DIR "/tmp has %" PRIu64
			" %s, as the place was taken; look at kept-* there, and remove what nobody misses, "
			"before the store goes",
			o->operand, r->kept, text_plural(r->kept, "file of a guest", "files of guests"));
	if (o->json)
		print_json(o, r);
	else
		print_text(o, r);
	return command_end(err, r->signal, r->errors + r->left + r->kept > 0 ? EXIT_ERRORS : EXIT_OK);
}

static int run(const struct unshare_args *o, const struct place *at)
{
	struct report report;
	report_init(&report, o->common.verbose, o->common.dry_run);
	const struct unshare_options options = { .dry_run = o->common.dry_run, .sync = o->sync };
	struct unshare_result result;
	int err = unshare_run(at, &options, &report, &result);
	int status = finish(&o->common, &result, err);
	report_destroy(&report);
	return status;
}

// The guest of a pool, or the directory on the way from the guest to @at, "web1/srv" (the caller frees it),
// whose own store, from before there was the pool's, is in use. NULL: none.
static char *directory_in_use(const struct place *at)
{
	if (!*at->path)
		return nested_find(at->pool.dir, true);
	for (const char *end = at->path; *end;) {
		end += strspn(end, "/");
		end += strcspn(end, "/");
		auto_free char *above = strndup(at->path, (size_t)(end - at->path));
		auto_close int dir = above ? beneath_open(at->pool.dir, above, O_PATH | O_DIRECTORY, 0) : -1;
		if (dir < 0 || !nested_in_use(dir))
			continue;
		char *found = above;
		above = NULL;
		return found;
	}
	return NULL;
}

static bool is_free(const struct place *at)
{
	auto_free char *found = directory_in_use(at);
	auto_free char *name = found ? text_printable(found) : NULL;
	if (!found)
		return true;
	log_error("%s/%s/" STORE_DIR
		  ": a store of the guest's own, and in use, by a mount of hashfs or another "
		  "hashify; end that and run hashify again",
		  at->pool_path, name ? name : "");
	return false;
}

int cmd_unshare(int argc, char **argv)
{
	struct unshare_args o = { .sync = true };
	int status = options_parse(&spec, argc, argv, &o.common);
	if (status >= 0)
		return status;

	enum openpool_mode mode = o.common.dry_run ? OPENPOOL_LOOK : OPENPOOL_CHANGE;
	struct place at;
	if (place_open(o.common.operand, mode, &at) < 0)
		return EXIT_FATAL;

	stop_init();
	status = is_free(&at) ? run(&o, &at) : EXIT_FATAL;
	place_close(&at);
	return status;
}
