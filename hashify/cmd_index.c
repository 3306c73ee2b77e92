#include "hashify/cmd_index.h"

#include "hashify/command.h"
#include "hashify/field.h"
#include "hashify/openpool.h"
#include "hashify/options.h"
#include "hashify/pass.h"
#include "hashify/policy.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/text.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"
#include "store/index.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct index_args {
	struct options common;
	bool rebuild;
	unsigned ignored;  // of enum identity_field
};

static const char help[] =
	"Usage: hashify index [OPTIONS] POOL\n"
	"\n"
	"Shows what the index of POOL knows: digests of files that are not shared, which the next pass need\n"
	"not read again, and the passes there were. It also knows what directories held.\n"
	"\n"
	"      --rebuild     throw it away, and read all files again that a pass would have to read; no\n"
	"                    guest's file is changed\n"
	"      --ignore=LIST with --rebuild: for passes with this option\n"
	"      --json        print JSON\n"
	"  -h, --help        show this help\n"
	"      --version     show the version\n"
	"\n"
	"Exit status: 0 all went well; 1 some files could not be read; 2 failed; 130 or 143 stopped by a\n"
	"signal.\n";

enum { OPT_REBUILD = 256, OPT_IGNORE };

static const struct option list[] = {
	{ "json", no_argument, NULL, OPTIONS_JSON },
	{ "rebuild", no_argument, NULL, OPT_REBUILD },
	{ "ignore", required_argument, NULL, OPT_IGNORE },
	{ 0 },
};

static int set(int option, const char *value, struct options *options)
{
	struct index_args *o = (struct index_args *)options;
	if (option == OPT_IGNORE)
		return options_ignore(value, &o->ignored);
	o->rebuild = true;
	return -1;
}

static const struct options_spec spec = { help, "POOL", list, set };

struct figures {
	enum index_state state;
	unsigned ignored;
	uint64_t files;
	int64_t passes;
	struct index_pass last;
};

static int count_file(const struct index_file *f, void *arg)
{
	(void)f;
	((struct figures *)arg)->files++;
	return 0;
}

static int look(struct store *s, struct figures *f)
{
	struct index *x;
	int r = index_open(s, INDEX_ANY, false, &x, &f->state);
	if (r < 0 || !x)
		return r;
	f->ignored = index_ignored(x);
	r = index_each(x, count_file, f);
	if (r == 0)
		f->passes = index_last_pass(x, &f->last);
	index_close(x);
	if (r == -EBADMSG || f->passes < 0) {
		f->state = INDEX_CORRUPT;
		f->passes = 0;
		return 0;
	}
	return r;
}

// A pass that links nothing and writes the index.
static int rebuild(const struct openpool *pool, unsigned ignored, int *ret_status)
{
	const struct policy policy = { 0 };
	const struct pass_options o = {
		.dry_run = true,
		.write_index = true,
		.policy = &policy,
		.ignored = ignored,
	};
	struct pass_result result;
	struct report report;

	int r = index_drop(pool->store);
	if (r < 0)
		return r;
	report_init(&report, false, true);
	r = pass_run(pool, &o, &report, &result);
	report_destroy(&report);
	*ret_status = command_end(0, result.signal, pass_errors(&result) > 0 ? EXIT_ERRORS : EXIT_OK);
	return r < 0 ? r : result.index_error;
}

static const char *const states[] = {
	[INDEX_GOOD] = "good",
	[INDEX_NEW] = "none",
	[INDEX_FOREIGN] = "foreign",
	[INDEX_CORRUPT] = "damaged",
	[INDEX_UNFINISHED] = "unfinished",
};

static void print_json(const struct options *o, const struct figures *f)
{
	command_open_json(o, "pool");
	printf(", \"state\": \"%s\", \"ignored\": [", states[f->state]);
	field_print_keys(stdout, f->ignored, ", ", "\"");
	printf("], \"files\": %" PRIu64 ", \"passes\": %" PRId64 ", \"last_pass\": ", f->files, f->passes);
	if (f->passes > 0)
		printf("{\"started\": %" PRId64 ", \"seconds\": %.3f, \"guests\": %" PRIu64
		       ", \"seen\": %" PRIu64 ", \"linked\": %" PRIu64 ", \"objects_created\": %" PRIu64
		       ", \"bytes_freed\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"stopped\": %s}",
		       f->last.started, f->last.seconds, f->last.guests, f->last.seen, f->last.linked,
		       f->last.objects, f->last.freed, f->last.errors, f->last.signal ? "true" : "false");
	else
		printf("null");
	printf("}\n");
}

static void print_text(const struct options *o, const struct figures *f)
{
	static const char *const words[] = {
		[INDEX_GOOD] = "is good",
		[INDEX_NEW] = "is not there yet; the next pass makes it",
		[INDEX_FOREIGN] = "is of another store or version; the next pass makes it anew",
		[INDEX_CORRUPT] = "is damaged; the next pass makes it anew",
		[INDEX_UNFINISHED] =
			"was being written when hashify was killed; the next pass puts it in order",
	};
	auto_free char *pool = text_printable(o->operand);
	char when[64] = "";
	time_t started = (time_t)f->last.started;
	struct tm tm;

	printf("%s/" STORE_DIR "/index.sqlite %s\n", pool ? pool : "", words[f->state]);
	if (f->ignored) {
		printf("  it serves passes with --ignore=");
		field_print_keys(stdout, f->ignored, ",", "");
		printf("; any other makes it anew\n");
	}
	printf("  %10" PRIu64 "  %s not be read again without a change\n", f->files,
	       text_plural(f->files, "file need", "files need"));
	printf("  %10" PRId64 "  %s\n", f->passes, text_plural((uint64_t)f->passes, "pass", "passes"));
	if (f->passes > 0 && localtime_r(&started, &tm) && strftime(when, sizeof(when), "%F %T", &tm) > 0)
		printf("the last began at %s: %" PRIu64 " %s in %" PRIu64 " %s, %" PRIu64
		       " linked, %s freed, in %.1f s%s\n",
		       when, f->last.seen, text_plural(f->last.seen, "name", "names"), f->last.guests,
		       text_plural(f->last.guests, "guest", "guests"), f->last.linked,
		       text_size(f->last.freed).text, f->last.seconds,
		       f->last.signal ? "; stopped early" : "");
}

static int show(const struct options *o, struct store *s)
{
	struct figures f = { 0 };
	int r = look(s, &f);
	if (r < 0) {
		log_error("%s/" STORE_DIR "/index.sqlite: %s", o->operand, strerror(-r));
		return EXIT_FATAL;
	}
	if (o->json)
		print_json(o, &f);
	else
		print_text(o, &f);
	return command_end(0, 0, EXIT_OK);
}

int cmd_index(int argc, char **argv)
{
	struct index_args o = { 0 };
	int status = options_parse(&spec, argc, argv, &o.common);
	if (status >= 0)
		return status;
	if (o.ignored && !o.rebuild)
		return options_usage("--ignore goes with --rebuild", "");

	struct openpool pool;
	if (openpool_with_store(o.common.operand, o.rebuild ? OPENPOOL_CHANGE : OPENPOOL_LOOK, &pool) < 0)
		return EXIT_FATAL;
	stop_init();
	status = EXIT_OK;
	int r = o.rebuild ? rebuild(&pool, o.ignored, &status) : 0;
	if (r < 0)
		log_error("%s: the index cannot be made anew: %s; nothing was lost", o.common.operand,
			  strerror(-r));
	int shown = r < 0 ? EXIT_FATAL : show(&o.common, pool.store);
	openpool_close(&pool);
	return shown != EXIT_OK ? shown : status;
}
