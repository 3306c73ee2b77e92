#include "hashify/cmd_verify.h"

#include "hashify/command.h"
#include "hashify/openpool.h"
#include "hashify/options.h"
#include "hashify/progress.h"
#include "hashify/rehash.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/text.h"
#include "hashify/verify.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"
#include "store/quarantine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verify_args {
	struct options common;
	uint64_t io_limit;
};

static const char help[] =
	"Usage: hashify verify [OPTIONS] POOL\n"
	"\n"
	"Reads every object in POOL/.hash and checks that content, size, metadata and mark are what its\n"
	"name says, the one first that has waited longest. A damaged object is moved to\n"
	"POOL/.hash/quarantine, so that no further file is linked to it, and the guests' files that are\n"
	"links to it are listed: who reads them reads the damage, until they are restored from a backup. No\n"
	"guest's file is touched. Guests may be mounted and in use meanwhile. It does not run beside\n"
	"another hashify that changes the store. A run that is stopped lists what it has found as well, and\n"
	"the next goes on from there.\n"
	"\n"
	"  -n, --dry-run         move and remember nothing, and report what is damaged\n"
	"      --io-limit=BYTES  read no more than that in a second; with K, M, G or T it is KiB, MiB …\n"
	"  -q, --quiet           print the summary only if something is damaged\n"
	"      --json            print the summary as JSON\n"
	"  -h, --help            show this help\n"
	"      --version         show the version\n"
	"\n"
	"Exit status: 0 all objects are sound; 1 some are damaged, or guests still have files that are\n"
	"links to what is in quarantine; 2 something could not be checked, moved or listed, whatever else\n"
	"was found; 130 or 143 stopped by SIGINT or SIGTERM, and all that was checked is sound.\n";

enum { OPT_IO_LIMIT = 256 };

static const struct option list[] = {
	{ "dry-run", no_argument, NULL, OPTIONS_DRY_RUN },
	{ "io-limit", required_argument, NULL, OPT_IO_LIMIT },
	{ "quiet", no_argument, NULL, OPTIONS_QUIET },
	{ "json", no_argument, NULL, OPTIONS_JSON },
	{ 0 },
};

static int set(int option, const char *value, struct options *options)
{
	(void)option;
	return options_limit("--io-limit", value, &((struct verify_args *)options)->io_limit);
}

static const struct options_spec spec = { help, "POOL", list, set };

static void finding_path(const struct finding *f, char ret[OBJECT_PATH_SIZE])
{
	if (f->quarantined)
		quarantine_path_print(&f->key, ret);
	else
		object_path_print(&f->key, ret);
}

static void print_json_finding(const struct finding *f)
{
	char path[OBJECT_PATH_SIZE];
	const char *comma = "";

	finding_path(f, path);
	printf("{\"object\": \"" STORE_DIR "/%s\", \"found_now\": %s, \"quarantined\": %s, \"damage\": [",
	       path, f->damage ? "true" : "false", f->quarantined ? "true" : "false");
	for (unsigned one = 1; one < DAMAGE_END; one <<= 1) {
		if (!(f->damage & one))
			continue;
		printf("%s\"%s\"", comma, damage_word(one));
		comma = ", ";
	}
	printf("], \"names\": [");
	for (size_t i = 0; i < f->names.count; i++) {
		fputs(i > 0 ? ", " : "", stdout);
		text_json(stdout, f->names.list[i]);
	}
	printf("]}");
}

static void print_json(const struct options *o, const struct verify_result *r)
{
	command_begin_json(o, "pool", r->signal);
	printf(", \"objects\": %" PRIu64 ", \"bytes_read\": %" PRIu64 ", \"damaged\": %" PRIu64
	       ", \"foreign\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"names_complete\": %s, \"findings\": [",
	       r->objects, r->read, r->damaged, r->foreign, r->errors, r->no_names ? "false" : "true");
	for (size_t i = 0; i < r->findings.count; i++) {
		fputs(i > 0 ? ", " : "", stdout);
		print_json_finding(&r->findings.list[i]);
	}
	printf("]}\n");
}

static void print_finding(const struct finding *f)
{
	char path[OBJECT_PATH_SIZE], words[DAMAGE_WORDS_SIZE] = "found by an earlier run";

	finding_path(f, path);
	if (f->damage)
		damage_print(f->damage, words);
	printf("  " STORE_DIR "/%s: %s; %zu %s in guests%s\n", path, words, f->names.count,
	       text_plural(f->names.count, "name", "names"), f->names.count > 0 ? ":" : "");
	for (size_t i = 0; i < f->names.count; i++) {
		auto_free char *name = text_printable(f->names.list[i]);
		printf("    %s\n", name ? name : "");
	}
}

static void print_text(const struct options *o, const struct verify_result *r)
{
	auto_free char *pool = text_printable(o->operand);
	printf("%s: %" PRIu64 " %s checked, %s read; %" PRIu64 " damaged%s%s\n", pool ? pool : "", r->objects,
	       text_plural(r->objects, "object", "objects"), text_size(r->read).text, r->damaged,
	       o->dry_run ? "; a dry run, nothing was changed" : "",
	       r->no_names ? "; stopped early, names are missing"
	       : r->signal ? "; stopped early"
			   : "");
	for (size_t i = 0; i < r->findings.count; i++)
		print_finding(&r->findings.list[i]);
	if (r->foreign > 0)
		printf("  %" PRIu64 " %s no object's and left alone\n", r->foreign,
		       text_plural(r->foreign, "name in the store is", "names in the store are"));
}

// A mount that looked such a file up while its mark was missing goes on taking it for private.
static void say_unmarked(const struct options *o, const struct verify_result *r)
{
	uint64_t count = 0;
	for (size_t i = 0; i < r->findings.count; i++) {
		const struct finding *f = &r->findings.list[i];
		count += (f->damage & DAMAGE_MARK) && f->names.count > 0;
	}
	if (count > 0 && !o->dry_run)
		log_warning("%s: %" PRIu64
			    " %s no true mark, and got one again; what is mounted may not know that: "
			    "unmount it, and mount it again",
			    o->operand, count,
			    text_plural(count, "object with links had", "objects with links had"));
}

// What passes know is gone with it.
static void say_index(const struct options *o, const struct verify_result *r)
{
	if (r->index == INDEX_CORRUPT || r->index == INDEX_FOREIGN)
		log_warning("%s/" STORE_DIR
			    "/index.sqlite: %s; it is made anew, and the next pass reads more",
			    o->operand,
			    r->index == INDEX_CORRUPT ? "was damaged" : "is of another store or version");
	if (r->index_error < 0)
		log_warning("%s/" STORE_DIR "/index.sqlite: %s; nothing was lost, but the next run does not "
			    "know what this one has checked",
			    o->operand, strerror(-r->index_error));
}

static int finish(const struct options *o, const struct verify_result *r, int err)
{
	command_say_early(o, "hashify verify", err);
	say_unmarked(o, r);
	say_index(o, r);
	if (o->json)
		print_json(o, r);
	else if (!o->quiet || r->findings.count > 0)
		print_text(o, r);
	int status = r->errors > 0 ? EXIT_FATAL : r->findings.count > 0 ? EXIT_DAMAGE : EXIT_OK;
	// Who stops each run after some hours must see that there is damage.
	return command_end(err, status == EXIT_OK ? r->signal : 0, status);
}

// Only a signal asks for it: nobody waits before a terminal for hours. Without it the work is the same.
static struct progress *start_progress(const struct options *o)
{
	const struct progress_options options = { .when = PROGRESS_NO, .dry_run = o->dry_run };
	struct progress *p = NULL;
	int r = progress_start(&options, &p);
	if (r < 0)
		log_warning("the progress cannot be shown: %s", strerror(-r));
	return p;
}

int cmd_verify(int argc, char **argv)
{
	struct verify_args o = { 0 };
	int status = options_parse(&spec, argc, argv, &o.common);
	if (status >= 0)
		return status;

	struct openpool pool;
	if (openpool_with_store(o.common.operand, o.common.dry_run ? OPENPOOL_LOOK : OPENPOOL_TIDY, &pool) <
	    0)
		return EXIT_FATAL;

	stop_init();
	struct report report;
	report_init(&report, false, o.common.dry_run);
	const struct verify_options options = {
		.dry_run = o.common.dry_run,
		.io_limit = o.io_limit,
		.progress = start_progress(&o.common),
	};
	struct verify_result result;
	int err = verify_run(pool.dir, pool.store, &options, &report, &result);
	progress_stop(options.progress);
	status = finish(&o.common, &result, err);
	findings_free(&result.findings);
	report_destroy(&report);
	openpool_close(&pool);
	return status;
}
