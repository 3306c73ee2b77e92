#include "hashify/cmd_pass.h"

#include "hashify/exit.h"
#include "hashify/openpool.h"
#include "hashify/options.h"
#include "hashify/pass.h"
#include "hashify/policy.h"
#include "hashify/report.h"
#include "hashify/stop.h"
#include "hashify/text.h"
#include "hashify/walk.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"
#include "store/claim.h"
#include "store/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct options {
	const char *pool;  // borrowed
	bool json, verbose, dry_run, sync;
	struct policy policy;  // owned
	unsigned ignored;      // of enum identity_field
	uint64_t memory;       // 0: as much as is usual
	unsigned jobs;         // 0: as many as pay
};

static const char help[] =
	"Usage: hashify [run] [OPTIONS] POOL\n"
	"       hashify stat [OPTIONS] POOL\n"
	"       hashify gc [OPTIONS] POOL\n"
	"       hashify verify [OPTIONS] POOL\n"
	"       hashify unshare [OPTIONS] PATH\n"
	"       hashify why [OPTIONS] PATH\n"
	"\n"
	"Replaces identical files in the guests of POOL by hard links to one object in POOL/.hash, so that\n"
	"they share disk blocks and page cache. Files are identical if content, mode, owner, mtime and all\n"
	"extended attributes are. Guests are the directories in POOL, but for .hash, .hash.* and "
	"lost+found.\n"
	"Guests must then be used through hashfs(8), which gives a file its own copy when it is modified.\n"
	"\n"
	"  -n, --dry-run     change nothing, and report exactly what a real run would\n"
	"  -v, --verbose     name each file and what becomes of it, or why it is left alone, on stderr\n"
	"      --json        print the summary as JSON\n"
	"      --sync=batch  flush the pool once when the pass starts, and each file changed since\n"
	"                    before it is shared: a power cut costs nothing (the default)\n"
	"      --sync=none   flush nothing: a power cut may cost content of files written shortly\n"
	"                    before the pass\n"
	"      --ignore=LIST let files be identical that differ in some of mtime, owner, mode, xattr\n"
	"                    (separated by commas); all guests then see what the object has. Mode and\n"
	"                    owner of set-id files, and capabilities, always count\n"
	"      --exclude=PATTERN, --exclude-from=FILE\n"
	"                    leave files alone, as in a .gitignore: *.log at any depth, /var/log/ from the\n"
	"                    guest's root on, !/etc/ not after all; the last that matches counts\n"
	"      --no-default-excludes, --print-default-excludes\n"
	"                    logs, databases, configuration, keys and the like are left alone by default\n"
	"      --min-size=SIZE leave smaller files alone (K, M, G)\n"
	"      --guest=NAME  only this guest (may be repeated)\n"
	"  -j, --jobs=N      read and link with N threads (1 to 64; default: twice the CPUs, 4 to 16)\n"
	"      --memory=SIZE what the names of new files may take (like 500M; default: an eighth of\n"
	"                    the machine's); with more new files the guests are walked several times\n"
	"  -h, --help        show this help\n"
	"      --version     show the version\n"
	"\n"
	"hashify COMMAND --help tells about each of the others. A pool called like a command is given as "
	"./stat.\n"
	"\n"
	"Exit status: 0 all went well; 1 some files could not be read or linked, the rest was done; 2 "
	"nothing\n"
	"was done, or the pass had to end early; 130 or 143 stopped by SIGINT or SIGTERM, between two "
	"files:\n"
	"run it again to go on.\n";

enum {
	OPT_JSON = 256,
	OPT_SYNC,
	OPT_IGNORE,
	OPT_MEMORY,
	OPT_MIN_SIZE,
	OPT_EXCLUDE,
	OPT_EXCLUDE_FROM,
	OPT_NO_DEFAULTS,
	OPT_PRINT_DEFAULTS,
	OPT_GUEST
};

static const struct option list[] = {
	{ "dry-run", no_argument, NULL, 'n' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "sync", required_argument, NULL, OPT_SYNC },
	{ "ignore", required_argument, NULL, OPT_IGNORE },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "min-size", required_argument, NULL, OPT_MIN_SIZE },
	{ "exclude", required_argument, NULL, OPT_EXCLUDE },
	{ "exclude-from", required_argument, NULL, OPT_EXCLUDE_FROM },
	{ "no-default-excludes", no_argument, NULL, OPT_NO_DEFAULTS },
	{ "print-default-excludes", no_argument, NULL, OPT_PRINT_DEFAULTS },
	{ "guest", required_argument, NULL, OPT_GUEST },
	{ "jobs", required_argument, NULL, 'j' },
	{ 0 },
};

static int fail(const char *what, int err)
{
	log_error("%s: %s", what, strerror(-err));
	return EXIT_FATAL;
}

static unsigned field_of(const char *name, size_t len)
{
	static const struct {
		const char *name;
		unsigned field;
	} fields[] = {
		{ "mtime", IDENTITY_MTIME },
		{ "owner", IDENTITY_OWNER },
		{ "mode", IDENTITY_MODE },
		{ "xattr", IDENTITY_XATTRS },
	};
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (strlen(fields[i].name) == len && memcmp(fields[i].name, name, len) == 0)
			return fields[i].field;
	return 0;
}

static int set_ignore(struct options *o, const char *value)
{
	for (const char *p = value, *end;; p = end + 1) {
		end = strchrnul(p, ',');
		unsigned field = field_of(p, (size_t)(end - p));
		if (!field)
			return options_usage(
				"--ignore takes mtime, owner, mode and xattr, separated by commas, not ",
				value);
		o->ignored |= field;
		if (!*end)
			return -1;
	}
}

static int set_jobs(struct options *o, const char *value)
{
	char *end;
	unsigned long jobs = strtoul(value, &end, 10);
	if (*end || value[0] < '0' || value[0] > '9' || jobs < 1 || jobs > PASS_MAX_THREADS)
		return options_usage("--jobs is a number from 1 to 64, not ", value);
	o->jobs = (unsigned)jobs;
	return -1;
}

static int set_memory(struct options *o, const char *value)
{
	if (text_parse_size(value, &o->memory) < 0)
		return options_usage("--memory is a number of bytes above 0, like 500M or 2G, not ", value);
	return -1;
}

static int set_min_size(struct options *o, const char *value)
{
	if (text_parse_size(value, &o->policy.min_size) < 0)
		return options_usage("--min-size is a number of bytes above 0, like 4096 or 64K, not ",
				     value);
	return -1;
}

static int set_exclude(struct options *o, const char *value)
{
	int r = policy_add_pattern(&o->policy, value);
	if (r == -EINVAL)
		return options_usage("--exclude takes a pattern like *.log, /var/log/ or !/etc/, not ",
				     value);
	return r < 0 ? fail(value, r) : -1;
}

static int set_exclude_from(struct options *o, const char *value)
{
	int line;
	int r = policy_add_file(&o->policy, value, &line);
	if (r == -EINVAL) {
		log_error("%s:%d: is no pattern; expected one a line, like *.log, /var/log/ or !/etc/", value,
			  line);
		return EXIT_FATAL;
	}
	return r < 0 ? fail(value, r) : -1;
}

static int print_defaults(void)
{
	policy_print_defaults(stdout);
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_FATAL;
}

static int set_guest(struct options *o, const char *value)
{
	int r = policy_add_guest(&o->policy, value);
	return r < 0 ? fail(value, r) : -1;
}

static int set_more(struct options *o, int option, const char *value)
{
	switch (option) {
	case OPT_MIN_SIZE:
		return set_min_size(o, value);
	case OPT_EXCLUDE:
		return set_exclude(o, value);
	case OPT_EXCLUDE_FROM:
		return set_exclude_from(o, value);
	case OPT_PRINT_DEFAULTS:
		return print_defaults();
	case OPT_GUEST:
		return set_guest(o, value);
	default:
		o->policy.no_defaults = true;
		return -1;
	}
}

static int set(int option, const char *value, void *options)
{
	struct options *o = options;

	switch (option) {
	case OPT_JSON:
		o->json = true;
		break;
	case 'v':
		o->verbose = true;
		break;
	case 'n':
		o->dry_run = true;
		break;
	case OPT_IGNORE:
		return set_ignore(o, value);
	case OPT_MEMORY:
		return set_memory(o, value);
	case 'j':
		return set_jobs(o, value);
	case OPT_SYNC:
		return options_sync(value, &o->sync);
	default:
		return set_more(o, option, value);
	}
	return -1;
}

static const struct options_spec spec = { help, "POOL", list, set };

static void print_json(const struct options *o, const struct pass_result *r)
{
	const struct tally *t = &r->tally;
	printf("{\"pool\": ");
	text_json(stdout, o->pool);
	printf(", \"dry_run\": %s, \"stopped_by\": ", o->dry_run ? "true" : "false");
	text_json_signal(stdout, r->signal);
	printf(", \"guests\": %zu, \"directories\": %" PRIu64 ", \"seen\": %" PRIu64, r->guests,
	       t->directories, t->seen);
	printf(", \"already_linked\": %" PRIu64 ", \"objects_created\": %" PRIu64 ", \"linked\": %" PRIu64,
	       t->already, t->objects, t->linked);
	printf(", \"bytes_freed\": %" PRIu64 ", \"bytes_read\": %" PRIu64 ", \"skipped\": {", t->freed,
	       t->read);
	for (int i = REASON_NONE + 1; i < REASON_COUNT; i++)
		printf("%s\"%s\": %" PRIu64, i > REASON_NONE + 1 ? ", " : "", reason_key(i), t->skipped[i]);
	printf("}, \"errors\": %" PRIu64, tally_errors(t));
	printf(", \"recovered\": {\"removed\": %" PRIu64 ", \"put_back\": %" PRIu64 ", \"kept\": %" PRIu64
	       "}",
	       r->recovery.removed, r->recovery.put_back, r->recovery.kept);
	printf(", \"foreign\": %" PRIu64 ", \"seconds\": %.3f}\n", r->foreign, r->seconds);
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

static void print_text(const struct options *o, const struct pass_result *r)
{
	const struct tally *t = &r->tally;
	auto_free char *pool = text_printable(o->pool);
	printf("%s: %zu guests, %" PRIu64 " names in %" PRIu64 " directories%s%s\n", pool ? pool : "",
	       r->guests, t->seen, t->directories, o->dry_run ? "; a dry run, nothing was changed" : "",
	       r->signal ? "; stopped early" : "");
	printf("  %10" PRIu64 "  were links already\n", t->already);
	printf("  %10" PRIu64 "  %s\n", t->linked, o->dry_run ? "would be linked" : "linked");
	printf("  %10" PRIu64 "  %s\n", t->objects, o->dry_run ? "would become objects" : "became objects");
	print_skipped(t);
	printf("%s %s, in %.1f s\n", text_size(t->freed).text, o->dry_run ? "would be freed" : "freed",
	       r->seconds);
}

static void print_recovery(const struct recovery *r)
{
	if (r->removed + r->put_back + r->kept > 0)
		log_info("a pass that was killed had left %" PRIu64 " files: %" PRIu64
			 " put back into their guests, %" PRIu64 " removed, %" PRIu64
			 " of unknown origin kept in " STORE_DIR "/tmp",
			 r->removed + r->put_back + r->kept, r->put_back, r->removed, r->kept);
}

static void print_index(const struct options *o, const struct pass_result *r)
{
	const char *path = STORE_DIR "/index.sqlite";

	if (r->index == INDEX_FOREIGN)
		log_warning("%s/%s: is of another store, version or --ignore; it is made anew, and this pass "
			    "reads more",
			    o->pool, path);
	if (r->index == INDEX_CORRUPT)
		log_warning("%s/%s: was damaged; it is made anew, and this pass reads more", o->pool, path);
	if (r->index_error < 0)
		log_warning("%s/%s: %s; nothing was lost, but the next pass reads more than it need", o->pool,
			    path, strerror(-r->index_error));
}

static int finish(const struct options *o, const struct pass_result *r, int err)
{
	if (err < 0)
		log_error("%s: the pass ended early: %s; nothing was lost; mend that and run hashify again",
			  o->pool, strerror(-err));
	print_recovery(&r->recovery);
	print_index(o, r);
	if (o->json)
		print_json(o, r);
	else
		print_text(o, r);
	if (fflush(stdout) != 0) {
		log_error("standard output: cannot be written; the pass itself was done");
		return EXIT_FATAL;
	}
	if (err < 0)
		return EXIT_FATAL;
	if (r->signal)
		return 128 + r->signal;
	return tally_errors(&r->tally) > 0 ? EXIT_ERRORS : EXIT_OK;
}

// A name that is mistyped must not look like a guest without anything to share.
static int check_guests(const struct options *o, int pool)
{
	for (size_t i = 0; i < o->policy.guest_count; i++) {
		const char *name = o->policy.guests[i];
		struct stat st;
		bool there = !strchr(name, '/') && fstatat(pool, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
		if (there && S_ISDIR(st.st_mode) && walk_is_guest(name))
			continue;
		auto_free char *printable = text_printable(name);
		log_error("%s: has no guest %s; expected the name of a directory in it", o->pool,
			  printable ? printable : "");
		return EXIT_FATAL;
	}
	return -1;
}

static int run(const struct options *o, const struct openpool *pool)
{
	struct report report;
	report_init(&report, o->verbose, o->dry_run);
	const struct pass_options options = {
		.dry_run = o->dry_run,
		.sync = o->sync,
		.policy = &o->policy,
		.ignored = o->ignored,
		.memory = o->memory,
		.threads = o->jobs,
	};
	struct pass_result result;
	int err = pass_run(pool->dir, pool->store, &options, &report, &result);
	int status = finish(o, &result, err);
	report_destroy(&report);
	return status;
}

static int open_and_run(const struct options *o)
{
	claim_init();
	struct openpool pool;
	if (openpool(o->pool, o->dry_run ? OPENPOOL_LOOK : OPENPOOL_CHANGE, &pool) < 0)
		return EXIT_FATAL;
	stop_init();
	int status = check_guests(o, pool.dir);
	if (status < 0)
		status = run(o, &pool);
	openpool_close(&pool);
	return status;
}

int cmd_pass(int argc, char **argv)
{
	struct options o = { .sync = true };
	int status = options_parse(&spec, argc, argv, &o, &o.pool);
	if (status < 0)
		status = open_and_run(&o);
	policy_free(&o.policy);
	return status;
}
