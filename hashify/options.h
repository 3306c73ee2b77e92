// The command line of a command: each has options of its own, and --help and --version.
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

// What several commands have in common: the first member of each command's own struct.
struct options {
	const char *operand;  // borrowed from the command line
	bool json, verbose, quiet, dry_run;
};

// The options for these, each of which a command may have in its list or not.
#define OPTIONS_JSON 0x10001
#define OPTIONS_VERBOSE 'v'
#define OPTIONS_QUIET 'q'
#define OPTIONS_DRY_RUN 'n'

struct options_spec {
	const char *help;           // the whole text
	const char *operand;        // what the one argument is: "POOL", "PATH"
	const struct option *list;  // ends with an empty one; a @val above 127 has no letter
	// Takes @option, a @val of the list that is not one of those above, and its value into the command's
	// own struct. -1, or the exit status the program ends with, after what is wrong was said. NULL: there
	// are none.
	int (*set)(int option, const char *value, struct options *options);
};

// Parses the arguments of a command, @argv[0] being its name. Returns -1 when it is to be run, else the exit
// status the program ends with: help or the version was shown, or what is wrong was said.
int options_parse(const struct options_spec *spec, int argc, char **argv, struct options *ret);

// Takes the value of the option @name, a number of bytes. Returns as @spec->set does.
int options_size(const char *name, const char *value, uint64_t *ret);

// The same for what may be limited: 0 is no limit.
int options_limit(const char *name, const char *value, uint64_t *ret);

// Takes the value of --sync: batch or none. Returns as @spec->set does.
int options_sync(const char *value, bool *ret);

// Takes the value of --ignore, a list of fields, and adds them to *@ret, of enum identity_field. Returns as
// @spec->set does.
int options_ignore(const char *value, unsigned *ret);

// Says that an argument is wrong, @what and @arg in one sentence, and returns the exit status.
int options_usage(const char *what, const char *arg);
