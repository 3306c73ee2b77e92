#include "hashify/command.h"

#include "hashify/options.h"
#include "hashify/text.h"
#include "store/base/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool has_json;

void command_open_json(const struct options *o, const char *key)
{
	has_json = true;
	printf("{\"%s\": ", key);
	text_json(stdout, o->operand);
}

void command_begin_json(const struct options *o, const char *key, int signal)
{
	command_open_json(o, key);
	printf(", \"dry_run\": %s, \"stopped_by\": ", o->dry_run ? "true" : "false");
	text_json_signal(stdout, signal);
}

void command_say_early(const struct options *o, const char *command, int err)
{
	if (err < 0)
		log_error("%s: ended early: %s; nothing was lost; mend that and run %s again", o->operand,
			  strerror(-err), command);
}

// As far as it can be told of arguments that may be wrong, which are not all looked at then.
static bool asks_for_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

int command_tell_failure(int status, int argc, char **argv)
{
	if (status != EXIT_FATAL || has_json || !asks_for_json(argc, argv))
		return status;
	printf("{\"error\": ");
	text_json(stdout, log_last_error());
	printf("}\n");
	return command_end(0, 0, status);
}

int command_end(int err, int signal, int status)
{
	if (fflush(stdout) != 0) {
		log_error("standard output: cannot be written; all else was done");
		return EXIT_FATAL;
	}
	if (err < 0)
		return EXIT_FATAL;
	return signal ? 128 + signal : status;
}
