#include "hashify/pass_args.h"

#include "hashify/command.h"
#include "hashify/options.h"
#include "hashify/pass.h"
#include "hashify/policy_args.h"
#include "hashify/text.h"
#include "store/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"Usage: hashify [run] [OPTIONS] POOL\n"
	"       hashify stat [OPTIONS] POOL\n"
	"       hashify gc [OPTIONS] POOL\n"
	"       hashify verify [OPTIONS] POOL\n"
	"       hashify unshare [OPTIONS] PATH\n"
	"       hashify why [OPTIONS] PATH\n"
	"       hashify index [OPTIONS] POOL\n"
	"\n"
	"Replaces identical files in the guests of POOL by hard links to one object in POOL/.hash, so that\n"
	"they share disk blocks and page cache. Files are identical if content, mode, owner, mtime and all\n"
	"extended attributes are. Guests are the directories in POOL, but for .hash, .hash.* and\n"
	"lost+found. Guests must then be used through hashfs(8), which gives a file its own copy when it is\n"
	"modified.\n"
	"\n"
	"  -n, --dry-run     change nothing, and report exactly what a real run would\n"
	"  -v, --verbose     name each file and what becomes of it, or why it is left alone, on stderr\n"
	"  -q, --quiet       say nothing but errors and warnings, and with --json the summary\n"
	"      --json        print the summary as JSON\n"
	"      --progress[=auto|yes|no|SECONDS]\n"
	"                    show how far it is: by a bar, if stderr is a terminal, else by a line each\n"
	"                    60 s (auto, the default), 10 s (yes, or no value) or SECONDS. SIGUSR1 always\n"
	"                    asks for such a line\n"
	"      --io-limit=BYTES\n"
	"                    read no more than BYTES a second, in files as a whole (K, M, G, T)\n"
	"      --back-off=auto\n"
	"                    make way while others wait for the disk or for memory (default: no)\n"
	"      --sync=batch  flush the pool once before something is linked, and each file changed since\n"
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
	"      --memory=SIZE what the names of new files and of directories may take (like 500M; default:\n"
	"                    an eighth of the machine's); with more the guests are walked several times\n"
	"  -h, --help        show this help\n"
	"      --version     show the version\n"
	"\n"
	"hashify COMMAND --help tells about each of the others. A pool called like a command is given as\n"
	"./stat.\n"
	"\n"
	"Exit status: 0 all went well; 1 some files could not be read or linked, the rest was done; 2\n"
	"nothing was done, or the pass had to end early; 130 or 143 stopped by SIGINT or SIGTERM, between\n"
	"two files: run it again to go on.\n";

enum {
	OPT_SYNC = 256,
	OPT_IGNORE,
	OPT_MEMORY,
	OPT_PRINT_DEFAULTS,
	OPT_GUEST,
	OPT_PROGRESS,
	OPT_IO_LIMIT,
	OPT_BACK_OFF
};

static const struct option list[] = {
	{ "dry-run", no_argument, NULL, OPTIONS_DRY_RUN },
	{ "verbose", no_argument, NULL, OPTIONS_VERBOSE },
	{ "json", no_argument, NULL, OPTIONS_JSON },
	{ "sync", required_argument, NULL, OPT_SYNC },
	{ "ignore", required_argument, NULL, OPT_IGNORE },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	POLICY_ARGS_OPTIONS,
	{ "print-default-excludes", no_argument, NULL, OPT_PRINT_DEFAULTS },
	{ "guest", required_argument, NULL, OPT_GUEST },
	{ "quiet", no_argument, NULL, OPTIONS_QUIET },
	{ "progress", optional_argument, NULL, OPT_PROGRESS },
	{ "io-limit", required_argument, NULL, OPT_IO_LIMIT },
	{ "back-off", required_argument, NULL, OPT_BACK_OFF },
	{ "jobs", required_argument, NULL, 'j' },
	{ 0 },
};

static int set_jobs(struct pass_args *o, const char *value)
{
	char *end;
	unsigned long jobs = strtoul(value, &end, 10);
	if (*end || value[0] < '0' || value[0] > '9' || jobs < 1 || jobs > PASS_MAX_THREADS)
		return options_usage("--jobs is a number from 1 to 64, not ", value);
	o->jobs = (unsigned)jobs;
	return -1;
}

static int print_defaults(void)
{
	policy_print_defaults(stdout);
	return command_end(0, 0, EXIT_OK);
}

// As a shell completes it, with a slash at its end.
static int set_guest(struct pass_args *o, const char *value)
{
	size_t length = strlen(value);
	while (length > 1 && value[length - 1] == '/')
		length--;
	int r = policy_add_guest(&o->policy, value, length);
	if (r < 0)
		log_error("%s: %s", value, strerror(-r));
	return r < 0 ? EXIT_FATAL : -1;
}

#define INTERVAL_MAX (24 * 60 * 60)

static int set_progress(struct pass_args *o, const char *value)
{
	uint64_t interval;

	o->progress.when = PROGRESS_YES;
	o->progress.interval = 0;
	if (!value || strcmp(value, "yes") == 0)
		return -1;
	if (strcmp(value, "auto") == 0) {
		o->progress.when = PROGRESS_AUTO;
		return -1;
	}
	if (strcmp(value, "no") == 0) {
		o->progress.when = PROGRESS_NO;
		return -1;
	}
	if (text_parse_size(value, &interval) < 0 || interval < 1 || interval > INTERVAL_MAX)
		return options_usage(
			"--progress is auto, yes, no or a number of seconds from 1 to 86400, not ", value);
	o->progress.interval = (unsigned)interval;
	return -1;
}

static int set_back_off(struct pass_args *o, const char *value)
{
	o->throttle.back_off = strcmp(value, "auto") == 0;
	if (!o->throttle.back_off && strcmp(value, "no") != 0)
		return options_usage("--back-off is auto or no, not ", value);
	return -1;
}

static int set_more(struct pass_args *o, int option, const char *value)
{
	switch (option) {
	case OPT_PRINT_DEFAULTS:
		return print_defaults();
	case OPT_GUEST:
		return set_guest(o, value);
	case OPT_PROGRESS:
		return set_progress(o, value);
	case OPT_IO_LIMIT:
		return options_limit("--io-limit", value, &o->throttle.limit);
	case OPT_BACK_OFF:
		return set_back_off(o, value);
	default:
		return policy_args_set(&o->policy, option, value);
	}
}

static int set(int option, const char *value, struct options *options)
{
	struct pass_args *o = (struct pass_args *)options;

	switch (option) {
	case OPT_IGNORE:
		return options_ignore(value, &o->ignored);
	case OPT_MEMORY:
		return options_size("--memory", value, &o->memory);
	case 'j':
		return set_jobs(o, value);
	case OPT_SYNC:
		return options_sync(value, &o->sync);
	default:
		return set_more(o, option, value);
	}
}

static const struct options_spec spec = { help, "POOL", list, set };

int pass_args_parse(int argc, char **argv, struct pass_args *ret)
{
	*ret = (struct pass_args){ .sync = true };
	return options_parse(&spec, argc, argv, &ret->common);
}

void pass_args_free(struct pass_args *a)
{
	policy_free(&a->policy);
}
