#include "hashify/cmd_why.h"

#include "hashify/command.h"
#include "hashify/field.h"
#include "hashify/options.h"
#include "hashify/place.h"
#include "hashify/policy_args.h"
#include "hashify/text.h"
#include "hashify/why.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct why_args {
	struct options common;
	struct policy policy;  // owned
	unsigned ignored;      // of enum identity_field
};

static const char help[] =
	"Usage: hashify why [OPTIONS] PATH\n"
	"\n"
	"Tells whether the file PATH in a guest is shared, and under which names; or which rule keeps it\n"
	"private; or what it differs in from a file with the same content. Of a directory it tells how many\n"
	"files beneath are shared. It only reads.\n"
	"\n"
	"      --exclude=PATTERN, --exclude-from=FILE, --no-default-excludes, --min-size=SIZE,\n"
	"      --ignore=LIST as for a pass: name those that your passes get\n"
	"      --json        print JSON\n"
	"  -h, --help        show this help\n"
	"      --version     show the version\n"
	"\n"
	"Exit status: 0 it was found out; 1 not all names, as some directories cannot be looked into; 2 it\n"
	"was not.\n";

enum { OPT_IGNORE = 256 };

static const struct option list[] = {
	{ "json", no_argument, NULL, OPTIONS_JSON },
	{ "ignore", required_argument, NULL, OPT_IGNORE },
	POLICY_ARGS_OPTIONS,
	{ 0 },
};

static int set(int option, const char *value, struct options *options)
{
	struct why_args *o = (struct why_args *)options;
	return option == OPT_IGNORE ? options_ignore(value, &o->ignored)
				    : policy_args_set(&o->policy, option, value);
}

static const struct options_spec spec = { help, "PATH", list, set };

static const char *const states[] = {
	[WHY_LINK] = "link",           [WHY_LEFT] = "left_alone", [WHY_NEXT] = "shared_by_next_pass",
	[WHY_DIFFERENT] = "different", [WHY_ALONE] = "alone",     [WHY_DIRECTORY] = "directory",
};

static void print_json(const struct options *o, const struct why *w)
{
	char object[OBJECT_NAME_SIZE];

	command_open_json(o, "path");
	printf(", \"state\": \"%s\"", states[w->state]);
	if (w->state == WHY_LEFT)
		printf(", \"reason\": \"%s\"", reason_key(w->reason));
	if (w->state == WHY_LINK) {
		object_name_print(&w->key, object);
		printf(", \"object\": \"%s\", \"size\": %" PRIu64
		       ", \"damaged\": %s, \"elsewhere\": %" PRIu64,
		       object, w->key.size, w->damaged ? "true" : "false", w->elsewhere);
	}
	if (w->state == WHY_DIFFERENT) {
		printf(", \"differs\": [");
		field_print_keys(stdout, w->differs, ", ", "\"");
		printf("], \"ignorable\": %s", w->gives_rights ? "false" : "true");
	}
	if (w->state == WHY_DIRECTORY)
		printf(", \"links\": %" PRIu64 ", \"link_bytes\": %" PRIu64 ", \"private\": %" PRIu64
		       ", \"private_bytes\": %" PRIu64,
		       w->links, w->link_bytes, w->files, w->file_bytes);
	printf(", \"copied_mark\": %s, \"errors\": %" PRIu64 ", \"names\": [",
	       w->copied_mark ? "true" : "false", w->errors);
	for (size_t i = 0; i < w->names.count; i++) {
		printf("%s", i > 0 ? ", " : "");
		text_json(stdout, w->names.list[i]);
	}
	printf("]}\n");
}

static void print_names(const struct why *w)
{
	for (size_t i = 0; i < w->names.count; i++) {
		auto_free char *name = text_printable(w->names.list[i]);
		printf("  %s\n", name ? name : "");
	}
}

static void print_ignore(const struct why *w)
{
	if (w->gives_rights) {
		printf(" (which gives rights here: no --ignore would share it):\n");
		return;
	}
	printf(" (--ignore=");
	field_print_keys(stdout, w->differs, ",", "");
	printf(" would share it):\n");
}

static void print_left(const struct why *w)
{
	if (w->is_held)
		printf("is a hard link that guests have in common and no pass has made: mounts keep them "
		       "apart, and hashify unshare gives each a file of its own\n");
	else if (w->is_below_mount)
		printf("is left alone: something is mounted there in the guest, which no pass enters\n");
	else if (w->list)
		printf("is private, and left alone: %s\n", w->list);
	else
		printf("is private, and left alone: %s%s%s\n", reason_text(w->reason), w->err ? ": " : "",
		       w->err ? strerror(-w->err) : "");
}

static void print_state(const struct why *w)
{
	char object[OBJECT_NAME_SIZE];

	switch (w->state) {
	case WHY_LINK:
		object_name_print(&w->key, object);
		printf("is shared: a link to the object %s, %s, which %shas %zu %s in guests:\n", object,
		       text_size(w->key.size).text, w->damaged ? "is damaged (hashify verify) and " : "",
		       w->names.count, text_plural(w->names.count, "name", "names"));
		break;
	case WHY_LEFT:
		print_left(w);
		break;
	case WHY_NEXT:
		printf("is private; the next pass shares it with\n");
		break;
	case WHY_DIFFERENT:
		printf("is private: what has the same content differs in ");
		field_print_texts(stdout, w->differs, ", ");
		print_ignore(w);
		break;
	case WHY_ALONE:
		printf("is private: no other file of the pool that a pass would share has its content\n");
		break;
	default:
		printf("is a directory; beneath it %" PRIu64 " %s, %s, and %" PRIu64 " %s private, %s\n",
		       w->links, text_plural(w->links, "name is a link", "names are links"),
		       text_size(w->link_bytes).text, w->files, text_plural(w->files, "file is", "files are"),
		       text_size(w->file_bytes).text);
	}
}

static void print_text(const struct options *o, const struct why *w)
{
	auto_free char *path = text_printable(o->operand);
	printf("%s ", path ? path : "");
	print_state(w);
	print_names(w);
	if (w->elsewhere > 0)
		printf("  (and %" PRIu64
		       " %s elsewhere: in a guest that was moved out of the pool, perhaps)\n",
		       w->elsewhere, text_plural(w->elsewhere, "name", "names"));
	if (w->copied_mark)
		printf("  (it has the mark of an object that it is a copy of, which means nothing)\n");
	if (w->errors > 0)
		printf("  (these are not all: %" PRIu64 " %s could not be looked into)\n", w->errors,
		       text_plural(w->errors, "directory", "directories"));
}

static int tell(const struct why_args *o)
{
	struct place at;
	if (place_open(o->common.operand, OPENPOOL_LOOK, &at) < 0)
		return EXIT_FATAL;
	struct why w;
	int r = why_find(&at, &o->policy, o->ignored, &w);
	if (r == -EISDIR)
		log_error("%s: is the pool itself; expected a path in one of its guests, or try hashify stat",
			  o->common.operand);
	else if (r < 0)
		log_error("%s: %s", o->common.operand, strerror(-r));
	else if (o->common.json)
		print_json(&o->common, &w);
	else
		print_text(&o->common, &w);
	int status = command_end(r, 0, w.errors > 0 ? EXIT_ERRORS : EXIT_OK);
	why_free(&w);
	place_close(&at);
	return status;
}

int cmd_why(int argc, char **argv)
{
	struct why_args o = { 0 };
	int status = options_parse(&spec, argc, argv, &o.common);
	if (status < 0)
		status = tell(&o);
	policy_free(&o.policy);
	return status;
}
