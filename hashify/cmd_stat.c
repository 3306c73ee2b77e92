#include "hashify/cmd_stat.h"

#include "hashify/command.h"
#include "hashify/openpool.h"
#include "hashify/options.h"
#include "hashify/report.h"
#include "hashify/stat.h"
#include "hashify/text.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"Usage: hashify stat [OPTIONS] POOL\n"
	"\n"
	"Shows what the guests of POOL share. It writes nothing, and may run while guests are mounted.\n"
	"\n"
	"  -h, --help        show this help\n"
	"      --json        print JSON\n"
	"      --version     show the version\n"
	"\n"
	"objects     files in the store; variants are objects beyond the first with the same content and\n"
	"            metadata, which exist because an inode can take only so many names\n"
	"links       names in the guests that are hard links to an object\n"
	"elsewhere   names of objects that are in no guest of the pool, if there are any\n"
	"saved disk  for each object, its allocated bytes × (its links - 1): what the links would take in\n"
	"            addition if each were a file of its own, stored as the object is. An object that no\n"
	"            guest uses saves nothing; what such objects take is shown as unused.\n"
	"saved RAM   for each object, its bytes in the page cache now × (the guests that have a link to it\n"
	"            - 1): the page cache that would be needed in addition if every one of these guests had\n"
	"            its own copy and used the same pages of it. It is no measurement of what the guests do:\n"
	"            a guest that holds a link but has not read it lately counts as well, and memory that\n"
	"            processes have of their own does not.\n"
	"\n"
	"Exit status: 0 all went well; 1 a part could not be read, the figures leave it out; 2 failed.\n";

static const struct option list[] = {
	{ "json", no_argument, NULL, OPTIONS_JSON },
	{ 0 },
};

static const struct options_spec spec = { help, "POOL", list, NULL };

static void print_json(const struct options *o, const struct stat_figures *f)
{
	const struct {
		const char *key;
		uint64_t value;
	} rows[] = {
		{ "guests", f->guests },         { "files", f->files },
		{ "objects", f->objects },       { "variants", f->variants },
		{ "unused", f->unused },         { "unused_bytes", f->unused_bytes },
		{ "links", f->links },           { "disk_bytes", f->disk_bytes },
		{ "disk_saved", f->disk_saved }, { "ram_bytes", f->ram_bytes },
		{ "ram_saved", f->ram_saved },   { "quarantined", f->quarantined },
		{ "elsewhere", f->elsewhere },   { "errors", f->errors },
	};
	command_open_json(o, "pool");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		printf(", \"%s\": %" PRIu64, rows[i].key, rows[i].value);
	printf("}\n");
}

static void print_text(const struct options *o, const struct stat_figures *f)
{
	auto_free char *pool = text_printable(o->operand);
	printf("%s: %" PRIu64 " %s, %" PRIu64 " %s\n", pool ? pool : "", f->guests,
	       text_plural(f->guests, "guest", "guests"), f->files, text_plural(f->files, "name", "names"));
	printf("  objects     %" PRIu64 ", %s", f->objects, text_size(f->disk_bytes + f->unused_bytes).text);
	if (f->variants > 0)
		printf("; %" PRIu64 " %s", f->variants, text_plural(f->variants, "variant", "variants"));
	if (f->unused > 0)
		printf("; %" PRIu64 " unused, %s", f->unused, text_size(f->unused_bytes).text);
	printf("\n  links       %" PRIu64 "\n", f->links);
	if (f->elsewhere > 0)
		printf("  elsewhere   %" PRIu64
		       " more %s: in a guest that was moved out of the pool without hashify unshare, perhaps. "
		       "What is written there, guests read\n",
		       f->elsewhere, text_plural(f->elsewhere, "name of an object", "names of objects"));
	printf("  saved disk  %s (what the links would take as files of their own)\n",
	       text_size(f->disk_saved).text);
	printf("  saved RAM   %s (%s of objects in the page cache, × their further guests)\n",
	       text_size(f->ram_saved).text, text_size(f->ram_bytes).text);
	if (f->quarantined > 0)
		printf("  quarantine  %" PRIu64 " damaged %s (hashify verify names the files)\n",
		       f->quarantined, text_plural(f->quarantined, "object", "objects"));
}

int cmd_stat(int argc, char **argv)
{
	struct options o = { 0 };
	int status = options_parse(&spec, argc, argv, &o);
	if (status >= 0)
		return status;

	struct openpool pool;
	if (openpool_with_store(o.operand, OPENPOOL_LOOK, &pool) < 0)
		return EXIT_FATAL;

	struct report report;
	report_init(&report, false, false);
	struct stat_figures figures;
	int err = stat_pool(pool.dir, pool.store, &report, &figures);
	if (err < 0)
		log_error("%s: cannot be counted: %s; expected a pool that can be read; see the kernel log",
			  o.operand, strerror(-err));
	else if (o.json)
		print_json(&o, &figures);
	else
		print_text(&o, &figures);
	report_destroy(&report);
	openpool_close(&pool);
	return command_end(err, 0, err == 0 && figures.errors > 0 ? EXIT_ERRORS : EXIT_OK);
}
