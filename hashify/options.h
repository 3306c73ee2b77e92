// The command line of a command: each has options of its own, and --help and --version.
#pragma once

#include <getopt.h>
#include <stdbool.h>

struct options_spec {
	const char *help;           // the whole text
	const char *operand;        // what the one argument is: "POOL", "PATH"
	const struct option *list;  // ends with an empty one; a @val above 127 has no letter
	// Takes @option, a @val of the list, and its value into @options, the command's own struct. -1, or
	// the exit status the program ends with, after what is wrong was said.
	int (*set)(int option, const char *value, void *options);
};

// Parses the arguments of a command, @argv[0] being its name. Returns -1 when it is to be run, else the exit
// status the program ends with: help or the version was shown, or what is wrong was said. @options is the
// struct that
// @spec->set fills; *@ret_operand is borrowed from the command line.
int options_parse(const struct options_spec *spec, int argc, char **argv, void *options,
		  const char **ret_operand);

// Takes the value of --sync: batch or none. Returns as @spec->set does.
int options_sync(const char *value, bool *ret);

// Says that an argument is wrong, @what and @arg in one sentence, and returns the exit status.
int options_usage(const char *what, const char *arg);
