#include "hashify/command.h"

#include "hashify/options.h"
#include "hashify/text.h"
#include "store/base/log.h"

#include <stdio.h>
#include <string.h>

void command_begin_json(const struct options *o, const char *key, int signal)
{
	printf("{\"%s\": ", key);
	text_json(stdout, o->operand);
	printf(", \"dry_run\": %s, \"stopped_by\": ", o->dry_run ? "true" : "false");
	text_json_signal(stdout, signal);
}

void command_say_early(const struct options *o, const char *command, int err)
{
	if (err < 0)
		log_error("%s: ended early: %s; nothing was lost; mend that and run %s again", o->operand,
			  strerror(-err), command);
}

int command_end(int err, int signal, int status)
{
	if (fflush(stdout) != 0) {
		log_error("standard output: cannot be written; the work itself was done");
		return EXIT_FATAL;
	}
	if (err < 0)
		return EXIT_FATAL;
	return signal ? 128 + signal : status;
}
