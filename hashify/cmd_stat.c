#include "hashify/cmd_stat.h"

#include "hashify/exit.h"
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
		{ "ram_saved", f->ram_saved },   { "errors", f->errors },
	};
	printf("{\"pool\": ");
	text_json(stdout, o->pool);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		printf(", \"%s\": %" PRIu64, rows[i].key, rows[i].value);
	printf("}\n");
}

static void print_text(const struct options *o, const struct stat_figures *f)
{
	auto_free char *pool = text_printable(o->pool);
	printf("%s: %" PRIu64 " guests, %" PRIu64 " names\n", pool ? pool : "", f->guests, f->files);
	printf("  objects     %" PRIu64 ", %s", f->objects, text_size(f->disk_bytes + f->unused_bytes).text);
	if (f->variants > 0)
		printf("; %" PRIu64 " variants", f->variants);
	if (f->unused > 0)
		printf("; %" PRIu64 " unused, %s", f->unused, text_size(f->unused_bytes).text);
	printf("\n  links       %" PRIu64 "\n", f->links);
	printf("  saved disk  %s (what the links would take as files of their own)\n",
	       text_size(f->disk_saved).text);
	printf("  saved RAM   %s (%s of objects in the page cache, × their further guests)\n",
	       text_size(f->ram_saved).text, text_size(f->ram_bytes).text);
}

int cmd_stat(int argc, char **argv)
{
	struct options o;
	int status = options_parse(COMMAND_STAT, argc, argv, &o);
	if (status >= 0)
		return status;

	struct openpool pool;
	if (openpool(o.pool, OPENPOOL_LOOK, &pool) < 0)
		return EXIT_FATAL;
	if (!pool.store) {
		log_error("%s: has no store; expected a pool that was hashified; run hashify %s first",
			  o.pool, o.pool);
		openpool_close(&pool);
		return EXIT_FATAL;
	}

	struct report report;
	report_init(&report, false, false);
	struct stat_figures figures;
	int err = stat_pool(pool.dir, pool.store, &report, &figures);
	if (err < 0)
		log_error("%s: cannot be counted: %s; expected a pool that can be read; see the kernel log",
			  o.pool, strerror(-err));
	else if (o.json)
		print_json(&o, &figures);
	else
		print_text(&o, &figures);
	report_destroy(&report);
	openpool_close(&pool);
	if (err < 0 || fflush(stdout) != 0)
		return EXIT_FATAL;
	return figures.errors > 0 ? EXIT_ERRORS : EXIT_OK;
}
