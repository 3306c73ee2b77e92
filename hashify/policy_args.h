// The options that tell which files are left alone, for each command that judges files as a pass does.
#pragma once

#include <getopt.h>

#include "hashify/policy.h"

enum {
	POLICY_ARGS_EXCLUDE = 0x20000,
	POLICY_ARGS_EXCLUDE_FROM,
	POLICY_ARGS_NO_DEFAULTS,
	POLICY_ARGS_MIN_SIZE,
};

// For the list of an options_spec.
#define POLICY_ARGS_OPTIONS                                                                                  \
	{ "exclude", required_argument, NULL, POLICY_ARGS_EXCLUDE },                                         \
		{ "exclude-from", required_argument, NULL, POLICY_ARGS_EXCLUDE_FROM },                       \
		{ "no-default-excludes", no_argument, NULL, POLICY_ARGS_NO_DEFAULTS },                       \
	{                                                                                                    \
		"min-size", required_argument, NULL, POLICY_ARGS_MIN_SIZE                                    \
	}

// Takes @option, one of these, and its @value. Returns as the set() of an options_spec.
int policy_args_set(struct policy *p, int option, const char *value);
