// The command line of a pass.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hashify/options.h"
#include "hashify/policy.h"
#include "hashify/progress.h"
#include "hashify/throttle.h"

struct pass_args {
	struct options common;
	bool sync;
	struct policy policy;  // owned
	unsigned ignored;      // of enum identity_field
	uint64_t memory;       // 0: as much as is usual
	unsigned jobs;         // 0: as many as pay
	struct progress_options progress;
	struct throttle_options throttle;
};

// As options_parse(). @ret is to be freed in any case.
int pass_args_parse(int argc, char **argv, struct pass_args *ret);
void pass_args_free(struct pass_args *a);
