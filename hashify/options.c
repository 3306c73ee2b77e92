#include "hashify/options.h"

#include "hashify/command.h"
#include "hashify/field.h"
#include "hashify/text.h"
#include "store/base/log.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#ifndef HASHFS_VERSION
#define HASHFS_VERSION "0.1"
#endif

int options_usage(const char *what, const char *arg)
{
	log_error("%s%s; try hashify --help", what, arg);
	return EXIT_FATAL;
}

int options_sync(const char *value, bool *ret)
{
	*ret = strcmp(value, "none") != 0;
	if (*ret && strcmp(value, "batch") != 0)
		return options_usage("--sync is batch or none, not ", value);
	return -1;
}

int options_ignore(const char *value, unsigned *ret)
{
	for (const char *p = value, *end;; p = end + 1) {
		end = strchrnul(p, ',');
		unsigned field = field_find(p, (size_t)(end - p));
		if (!field)
			return options_usage(
				"--ignore takes mtime, owner, mode and xattr, separated by commas, not ",
				value);
		*ret |= field;
		if (!*end)
			return -1;
	}
}

int options_size(const char *name, const char *value, uint64_t *ret)
{
	if (text_parse_size(value, ret) == 0)
		return -1;
	log_error("%s is a number of bytes above 0, like 4096, 500K or 2G, not %s; try hashify --help", name,
		  *value ? value : "an empty one");
	return EXIT_FATAL;
}

int options_limit(const char *name, const char *value, uint64_t *ret)
{
	*ret = 0;
	if (strcmp(value, "0") == 0 || text_parse_size(value, ret) == 0)
		return -1;
	log_error(
		"%s is a number of bytes, like 4096, 500K or 2G, or 0 for no limit, not %s; try hashify --help",
		name, *value ? value : "an empty one");
	return EXIT_FATAL;
}

#define OPTIONS_MAX 32

enum { OPT_HELP = 'h', OPT_VERSION = 0x10000 };

static const struct option common[] = {
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

struct table {
	struct option list[OPTIONS_MAX];
	char letters[2 * OPTIONS_MAX + 2];
};

static size_t add(struct table *t, size_t count, const struct option *list)
{
	char *letters = t->letters + strlen(t->letters);

	for (; list->name; list++) {
		assert(count + 1 < OPTIONS_MAX);
		t->list[count++] = *list;
		if (list->val > 127)
			continue;
		*letters++ = (char)list->val;
		if (list->has_arg != no_argument)
			*letters++ = ':';
	}
	return count;
}

// getopt(3) has not gone past @given yet where letters stand together.
static int wrong_option(const char *given)
{
	const char letter[] = { '-', (char)optopt, '\0' };
	if (strncmp(given, "--", 2) != 0 && optopt != 0)
		return options_usage("unknown option ", letter);
	if (optopt != 0 && strchr(given, '='))
		return options_usage("no value is to follow the option in ", given);
	return options_usage("unknown option ", optopt != 0 ? letter : given);
}

static int take(const struct options_spec *spec, int option, const char *arg, const char *given,
		struct options *ret)
{
	switch (option) {
	case OPTIONS_JSON:
		ret->json = true;
		return -1;
	case OPTIONS_VERBOSE:
		ret->verbose = true;
		return -1;
	case OPTIONS_QUIET:
		ret->quiet = true;
		return -1;
	case OPTIONS_DRY_RUN:
		ret->dry_run = true;
		return -1;
	case ':':
		return options_usage(given, " needs a value");
	case '?':
		return wrong_option(given);
	case OPT_HELP:
		fputs(spec->help, stdout);
		return command_end(0, 0, EXIT_OK);
	case OPT_VERSION:
		puts("hashify " HASHFS_VERSION);
		return command_end(0, 0, EXIT_OK);
	default:
		return spec->set(option, arg, ret);
	}
}

static bool is_directory(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int operand(const struct options_spec *spec, int argc, char **argv, const char **ret)
{
	if (optind == argc) {
		log_error("no %s is named; try hashify --help", spec->operand);
		return EXIT_FATAL;
	}
	if (optind + 1 < argc && strcmp(spec->operand, "POOL") == 0 && !is_directory(argv[optind])) {
		log_error(
			"%s: is no command of hashify's where it stands (a command comes before all options), "
			"and no directory; try hashify --help",
			argv[optind]);
		return EXIT_FATAL;
	}
	if (optind + 1 < argc) {
		log_error("one %s at a time: what is to be done with %s; try hashify --help", spec->operand,
			  argv[optind + 1]);
		return EXIT_FATAL;
	}
	*ret = argv[optind];
	return -1;
}

int options_parse(const struct options_spec *spec, int argc, char **argv, struct options *ret)
{
	struct table t = { .letters = ":" };
	add(&t, add(&t, 0, spec->list), common);

	opterr = 0;
	optind = 1;
	for (int option; (option = getopt_long(argc, argv, t.letters, t.list, NULL)) != -1;) {
		int status = take(spec, option, optarg, argv[optind - 1], ret);
		if (status >= 0)
			return status;
	}
	if (ret->verbose && ret->quiet)
		return options_usage("--verbose and --quiet exclude each other", "");
	if (ret->quiet)
		log_init("hashify", LOG_LEVEL_WARNING);
	return operand(spec, argc, argv, &ret->operand);
}
