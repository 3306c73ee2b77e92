#include "hashify/options.h"

#include "hashify/exit.h"
#include "store/base/log.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#ifndef HASHFS_VERSION
#define HASHFS_VERSION "0.1"
#endif

static const char help_run[] =
	"Usage: hashify [run] [OPTIONS] POOL\n"
	"       hashify stat [OPTIONS] POOL\n"
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
	"      --sync=batch  flush the pool once when the pass starts, and each file changed since before it "
	"is\n"
	"                    shared: a power cut at any instant costs nothing (the default)\n"
	"      --sync=none   flush nothing: a power cut may cost content of files written shortly before the "
	"pass\n"
	"  -h, --help        show this help\n"
	"      --version     show the version\n"
	"\n"
	"hashify stat --help explains its figures. A pool called stat or run is given as ./stat.\n"
	"\n"
	"Exit status: 0 all went well; 1 some files could not be read or linked, the rest was done; 2 "
	"nothing\n"
	"was done, or the pass had to end early; 130 or 143 stopped by SIGINT or SIGTERM, between two "
	"files:\n"
	"run it again to go on.\n";

static const char help_stat[] =
	"Usage: hashify stat [OPTIONS] POOL\n"
	"\n"
	"Shows what the guests of POOL share. It writes nothing, and may run while guests are mounted.\n"
	"\n"
	"  -h, --help        show this help\n"
	"      --json        print JSON\n"
	"      --version     show the version\n"
	"\n"
	"objects     files in the store; variants are objects beyond the first with the same content and\n"
	"            metadata, which exist because an inode can take only so many names\n"
	"links       names in the guests that are hard links to an object\n"
	"saved disk  for each object, its allocated bytes × (its links - 1): what the links would take in\n"
	"            addition if each were a file of its own, stored as the object is. An object that no\n"
	"            guest uses saves nothing; what such objects take is shown as unused.\n"
	"saved RAM   for each object, its bytes in the page cache now × (the guests that have a link to it\n"
	"            - 1): the page cache that would be needed in addition if every one of these guests had\n"
	"            its own copy and used the same pages of it. It is no measurement of what the guests "
	"do:\n"
	"            a guest that holds a link but has not read it lately counts as well, and memory that\n"
	"            processes have of their own does not.\n"
	"\n"
	"Exit status: 0 all went well; 1 a part could not be read, the figures leave it out; 2 failed.\n";

static int usage(const char *what, const char *arg)
{
	log_error("%s%s; try hashify --help", what, arg);
	return EXIT_FATAL;
}

enum { OPT_JSON = 256, OPT_SYNC, OPT_VERSION };

static const struct option long_options[] = {
	{ "dry-run", no_argument, NULL, 'n' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "sync", required_argument, NULL, OPT_SYNC },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static int set_sync(struct options *o, const char *arg)
{
	o->sync = strcmp(arg, "none") != 0;
	if (o->sync && strcmp(arg, "batch") != 0)
		return usage("--sync is batch or none, not ", arg);
	return -1;
}

static int set(enum command command, int option, const char *arg, struct options *o)
{
	switch (option) {
	case OPT_JSON:
		o->json = true;
		return -1;
	case 'v':
		o->verbose = true;
		return -1;
	case 'n':
		o->dry_run = true;
		return -1;
	case OPT_SYNC:
		return set_sync(o, arg);
	case 'h':
		fputs(command == COMMAND_STAT ? help_stat : help_run, stdout);
		return EXIT_OK;
	case OPT_VERSION:
		puts("hashify " HASHFS_VERSION);
		return EXIT_OK;
	default:
		return EXIT_FATAL;
	}
}

static bool is_of_stat(int option)
{
	return option == OPT_JSON || option == 'h' || option == OPT_VERSION;
}

int options_parse(enum command command, int argc, char **argv, struct options *ret)
{
	struct options o = { .sync = true };
	char short_options[] = ":nvh";

	opterr = 0;
	optind = 1;
	for (int option; (option = getopt_long(argc, argv, short_options, long_options, NULL)) != -1;) {
		const char *given = argv[optind - 1];
		if (option == ':')
			return usage(given, " needs a value");
		if (option == '?' || (command == COMMAND_STAT && !is_of_stat(option)))
			return usage("unknown option ", given);
		int status = set(command, option, optarg, &o);
		if (status >= 0)
			return status;
	}
	if (optind == argc)
		return usage("no POOL is named", "");
	if (optind + 1 < argc)
		return usage("one POOL at a time: what is to be done with ", argv[optind + 1]);
	o.pool = argv[optind];
	*ret = o;
	return -1;
}
