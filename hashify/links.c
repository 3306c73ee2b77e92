#include "hashify/links.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "hashify/report.h"
#include "store/replace.h"

struct links_one {
	const struct tree_file *file;
	uint64_t freed;
};

#define LINKS_MAX 4096

int links_init(struct links *l)
{
	l->list = calloc(LINKS_MAX, sizeof(*l->list));
	return l->list ? 0 : -ENOMEM;
}

void links_destroy(struct links *l)
{
	free(l->list);
}

void links_count(struct links *l, const struct reading *r)
{
	uint64_t freed = (uint64_t)r->claim.st.st_blocks * 512;
	struct report_place place = report_place_of(l->trees, r->file);
	report_link(l->report, l->tally, &place, freed);
	if (!l->replacer)
		return;
	l->list[l->count++] = (struct links_one){ r->file, freed };
	if (l->count == LINKS_MAX)
		links_flush(l);
}

// Is the guest's own file back under its name?
static bool was_put_back(const struct links *l, const struct tree_file *f)
{
	int dir = reader_dir(l->reader, f);
	struct stat st;
	if (dir < 0 || fstatat(dir, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	return st.st_ino == f->ino;
}

static void take_back(struct links *l, const struct links_one *one)
{
	struct report_place place = report_place_of(l->trees, one->file);
	l->tally->linked--;
	l->tally->freed -= one->freed;
	report_skip(l->report, l->tally, &place, REASON_CHANGED, 0);
}

void links_flush(struct links *l)
{
	struct replacer_done done;
	int r = replacer_flush(l->replacer, &done);
	l->tally->kept += done.kept;
	for (size_t i = 0; i < l->count && done.put_back > 0; i++)
		if (was_put_back(l, l->list[i].file))
			take_back(l, &l->list[i]);
	l->count = 0;
	if (l->error < 0 || r == 0)
		return;
	report_store(r);
	l->error = r;
}
