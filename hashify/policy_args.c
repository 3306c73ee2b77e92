#include "hashify/policy_args.h"

#include "hashify/command.h"
#include "hashify/options.h"
#include "store/base/log.h"

#include <errno.h>
#include <string.h>

static int set_exclude(struct policy *p, const char *value)
{
	int r = policy_add_pattern(p, value);
	if (r == -EINVAL)
		return options_usage("--exclude takes a pattern, " POLICY_PATTERN ", not ",
				     *value ? value : "an empty one");
	if (r < 0)
		log_error("%s: %s", value, strerror(-r));
	return r < 0 ? EXIT_FATAL : -1;
}

static int set_exclude_from(struct policy *p, const char *value)
{
	int line;
	int r = policy_add_file(p, value, &line);
	if (r == -EINVAL && line == 0)
		log_error("%s: has a NUL byte; expected a text file, a pattern a line", value);
	else if (r == -EINVAL)
		log_error("%s:%d: is no pattern; expected one a line, " POLICY_PATTERN, value, line);
	else if (r < 0)
		log_error("%s: cannot be read: %s; expected a file of patterns, one a line; check the path",
			  value, strerror(-r));
	return r < 0 ? EXIT_FATAL : -1;
}

int policy_args_set(struct policy *p, int option, const char *value)
{
	switch (option) {
	case POLICY_ARGS_EXCLUDE:
		return set_exclude(p, value);
	case POLICY_ARGS_EXCLUDE_FROM:
		return set_exclude_from(p, value);
	case POLICY_ARGS_MIN_SIZE:
		return options_size("--min-size", value, &p->min_size);
	default:
		p->no_defaults = true;
		return -1;
	}
}
