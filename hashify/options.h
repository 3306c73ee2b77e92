// The command line as one struct.
#pragma once

#include <stdbool.h>

struct options {
	const char *pool;  // borrowed from the command line
	bool json;
	bool verbose;
	bool dry_run;
	bool sync;
};

enum command { COMMAND_RUN, COMMAND_STAT };

// Parses the arguments of @command, @argv[0] being its name. Returns -1 when it is to be run, else the exit
// status the program ends with: help or the version was shown, or what is wrong was said.
int options_parse(enum command command, int argc, char **argv, struct options *ret);
