#include "hashify/cmd_gc.h"

#include "hashify/command.h"
#include "hashify/gc.h"
#include "hashify/openpool.h"
#include "hashify/options.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/text.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"

#include <inttypes.h>
#include <stdio.h>

static const char help[] =
	"Usage: hashify gc [OPTIONS] POOL\n"
	"\n"
	"Removes the objects in POOL/.hash that no guest has a link to any more. Guests may be mounted and\n"
	"in use meanwhile: who has such an object open goes on reading it. No guest's file is touched. It\n"
	"does not run beside another hashify that changes the store.\n"
	"\n"
	"  -n, --dry-run     change nothing, and report what a real run would\n"
	"  -v, --verbose     name each object that is removed, on stderr\n"
	"  -q, --quiet       say nothing but errors and warnings, and with --json the summary\n"
	"      --json        print the summary as JSON\n"
	"  -h, --help        show this help\n"
	"      --version     show the version\n"
	"\n"
	"Exit status: 0 all went well; 1 some objects could not be removed; 2 nothing was done, or it had\n"
	"to end early; 130 or 143 stopped by SIGINT or SIGTERM: run it again to go on.\n";

static const struct option list[] = {
	{ "dry-run", no_argument, NULL, OPTIONS_DRY_RUN },
	{ "verbose", no_argument, NULL, OPTIONS_VERBOSE },
	{ "quiet", no_argument, NULL, OPTIONS_QUIET },
	{ "json", no_argument, NULL, OPTIONS_JSON },
	{ 0 },
};

static const struct options_spec spec = { help, "POOL", list, NULL };

static void print_json(const struct options *o, const struct gc_result *r)
{
	command_begin_json(o, "pool", r->signal);
	printf(", \"removed\": %" PRIu64 ", \"bytes_freed\": %" PRIu64 ", \"kept\": %" PRIu64
	       ", \"quarantined\": %" PRIu64 ", \"foreign\": %" PRIu64 ", \"errors\": %" PRIu64 "}\n",
	       r->removed, r->freed, r->kept, r->quarantined, r->foreign, r->errors);
}

static void print_text(const struct options *o, const struct gc_result *r)
{
	auto_free char *pool = text_printable(o->operand);
	printf("%s: %" PRIu64 " unused %s %s, %s %s; %" PRIu64 " kept%s%s\n", pool ? pool : "", r->removed,
	       text_plural(r->removed, "object", "objects"), o->dry_run ? "would be removed" : "removed",
	       text_size(r->freed).text, o->dry_run ? "would be freed" : "freed", r->kept,
	       o->dry_run ? "; a dry run, nothing was changed" : "", r->signal ? "; stopped early" : "");
	if (r->quarantined > 0)
		printf("  %" PRIu64
		       " of these %s damaged and in quarantine; hashify verify names their links\n",
		       r->quarantined, text_plural(r->quarantined, "is", "are"));
	if (r->foreign > 0)
		printf("  %" PRIu64 " %s no object's and left alone\n", r->foreign,
		       text_plural(r->foreign, "name in the store is", "names in the store are"));
}

static int finish(const struct options *o, const struct gc_result *r, int err)
{
	command_say_early(o, "hashify gc", err);
	if (r->renewed > 0)
		log_warning("%s: %" PRIu64
			    " %s lost, as after a restore of some files, and given again; what is mounted "
			    "does not know that: unmount it, and mount it again",
			    o->operand, r->renewed,
			    text_plural(r->renewed, "object's mark was", "objects' marks were"));
	if (o->json)
		print_json(o, r);
	else if (!o->quiet)
		print_text(o, r);
	return command_end(err, r->signal, r->errors > 0 ? EXIT_ERRORS : EXIT_OK);
}

int cmd_gc(int argc, char **argv)
{
	struct options o = { 0 };
	int status = options_parse(&spec, argc, argv, &o);
	if (status >= 0)
		return status;

	struct openpool pool;
	if (openpool_with_store(o.operand, o.dry_run ? OPENPOOL_LOOK : OPENPOOL_TIDY, &pool) < 0)
		return EXIT_FATAL;

	stop_init();
	struct report report;
	report_init(&report, o.verbose, o.dry_run);
	struct gc_result result;
	int err = gc_run(pool.store, o.dry_run, &report, &result);
	status = finish(&o, &result, err);
	report_destroy(&report);
	openpool_close(&pool);
	return status;
}
