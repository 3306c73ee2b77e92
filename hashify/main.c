// The table of commands.

#include "hashify/cmd_gc.h"
#include "hashify/cmd_index.h"
#include "hashify/cmd_pass.h"
#include "hashify/cmd_stat.h"
#include "hashify/cmd_unshare.h"
#include "hashify/cmd_verify.h"
#include "hashify/cmd_why.h"
#include "hashify/command.h"
#include "hashify/progress.h"
#include "store/base/limit.h"
#include "store/base/log.h"
#include "store/claim.h"

#include <malloc.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "run", cmd_pass },        { "stat", cmd_stat }, { "gc", cmd_gc },       { "verify", cmd_verify },
	{ "unshare", cmd_unshare }, { "why", cmd_why },   { "index", cmd_index },
};

static int run(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	return cmd_pass(argc, argv);
}

int main(int argc, char **argv)
{
	log_init("hashify", LOG_LEVEL_INFO);
	progress_signals();
	claim_init();
	limit_lift_file_size();
	// A heap for each of the threads would leave a twelfth of the memory unused, and they allocate
	// little.
	mallopt(M_ARENA_MAX, 2);
	return command_tell_failure(run(argc, argv), argc, argv);
}
