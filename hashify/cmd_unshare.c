#include "hashify/cmd_unshare.h"

#include "hashify/exit.h"
#include "hashify/options.h"
#include "hashify/place.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/text.h"
#include "hashify/unshare.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct options {
	const char *path;  // borrowed
	bool json, verbose;
	struct unshare_options unshare;
};

static const char help[] =
	"Usage: hashify unshare [OPTIONS] PATH\n"
	"\n"
	"Gives the file PATH in a guest a copy of its own again, or every file beneath the directory PATH: "
	"a\n"
	"guest, a part of it, or the whole pool. The copy has content, holes, mode, owner, times, extended\n"
	"attributes and ACLs of what was shared. Files that are not shared are left alone. No mount of\n"
	"hashfs may serve the pool meanwhile. The next pass shares again what is not excluded.\n"
	"\n"
	"  -n, --dry-run     change nothing, and report what a real run would\n"
	"  -v, --verbose     name each file, on stderr\n"
	"      --json        print the summary as JSON\n"
	"      --sync=batch  have each copy on the disk before it takes the link's place (the default)\n"
	"      --sync=none   do without: a power cut soon after may cost content of these files\n"
	"  -h, --help        show this help\n"
	"      --version     show the version\n"
	"\n"
	"Exit status: 0 all went well; 1 some files could not be copied; 2 nothing was done, or it had to "
	"end\n"
	"early, because the disk is full for example: what is not done stays shared; 130 or 143 stopped by\n"
	"SIGINT or SIGTERM.\n";

enum { OPT_JSON = 256, OPT_SYNC };

static const struct option list[] = {
	{ "dry-run", no_argument, NULL, 'n' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "sync", required_argument, NULL, OPT_SYNC },
	{ 0 },
};

static int set(int option, const char *value, void *options)
{
	struct options *o = options;

	o->json |= option == OPT_JSON;
	o->verbose |= option == 'v';
	o->unshare.dry_run |= option == 'n';
	return option == OPT_SYNC ? options_sync(value, &o->unshare.sync) : -1;
}

static const struct options_spec spec = { help, "PATH", list, set };

static void print_json(const struct options *o, const struct unshare_result *r)
{
	printf("{\"path\": ");
	text_json(stdout, o->path);
	printf(", \"dry_run\": %s, \"stopped_by\": ", o->unshare.dry_run ? "true" : "false");
	text_json_signal(stdout, r->signal);
	printf(", \"unshared\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"changed\": %" PRIu64
	       ", \"errors\": %" PRIu64 "}\n",
	       r->links, r->bytes, r->changed, r->errors);
}

static void print_text(const struct options *o, const struct unshare_result *r)
{
	auto_free char *path = text_printable(o->path);
	printf("%s: %" PRIu64 " files %s copies of their own, %s%s%s\n", path ? path : "", r->links,
	       o->unshare.dry_run ? "would get" : "got", text_size(r->bytes).text,
	       o->unshare.dry_run ? "; a dry run, nothing was changed" : "",
	       r->signal ? "; stopped early" : "");
	if (r->changed > 0)
		printf("  %" PRIu64 " names were changed by the guest meanwhile\n", r->changed);
}

static int finish(const struct options *o, const struct unshare_result *r, int err)
{
	if (err < 0)
		log_error(
			"%s: ended early: %s; nothing was lost, the rest is shared as before; mend that and "
			"run hashify unshare again",
			o->path, strerror(-err));
	if (o->json)
		print_json(o, r);
	else
		print_text(o, r);
	if (fflush(stdout) != 0) {
		log_error("standard output: cannot be written; the work itself was done");
		return EXIT_FATAL;
	}
	if (err < 0)
		return EXIT_FATAL;
	if (r->signal)
		return 128 + r->signal;
	return r->errors > 0 ? EXIT_ERRORS : EXIT_OK;
}

int cmd_unshare(int argc, char **argv)
{
	struct options o = { .unshare.sync = true };
	int status = options_parse(&spec, argc, argv, &o, &o.path);
	if (status >= 0)
		return status;

	struct place at;
	if (place_open(o.path, o.unshare.dry_run ? OPENPOOL_LOOK : OPENPOOL_CHANGE, &at) < 0)
		return EXIT_FATAL;

	stop_init();
	struct report report;
	report_init(&report, o.verbose, o.unshare.dry_run);
	struct unshare_result result;
	int err = unshare_run(&at, &o.unshare, &report, &result);
	status = finish(&o, &result, err);
	report_destroy(&report);
	place_close(&at);
	return status;
}
