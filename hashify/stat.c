#include "hashify/stat.h"

#include "hashify/guests.h"
#include "hashify/known.h"
#include "hashify/reason.h"
#include "hashify/report.h"
#include "hashify/walk.h"
#include "store/base/cleanup.h"
#include "store/base/sys.h"
#include "store/object.h"
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct usage {
	uint64_t links;
	uint32_t guests;
	uint32_t last_guest;  // of those counted; guests are walked one after the other
};

struct counting {
	const struct known *known;
	struct usage *usage;  // one an object
};

static void on_link(const struct known_object *object, const struct report_place *place, void *arg)
{
	struct counting *c = arg;
	uint32_t guest = place->tree->index;
	struct usage *u = &c->usage[object - c->known->objects];
	if (u->guests == 0 || u->last_guest != guest) {
		u->guests++;
		u->last_guest = guest;
	}
	u->links++;
}

static int count_links(int pool, const struct walk *walk, struct stat_figures *f, bool *ret_all)
{
	struct tally tally = { 0 };
	int64_t guests = guests_walk_links(walk, pool, &tally);
	if (guests < 0)
		return (int)guests;
	f->guests = (uint64_t)guests;
	f->links = tally.already;
	f->files = tally.seen;
	f->errors += tally_errors(&tally);
	*ret_all = f->errors == 0 && tally.skipped[REASON_MOUNT] == 0;
	return 0;
}

static int64_t cached_bytes(int fd, uint64_t size)
{
	int64_t pages = sys_cached_pages(fd, size);
	return pages < 0 ? pages : pages * sysconf(_SC_PAGESIZE);
}

static int add_object(struct store *s, const struct known_object *object, const struct usage *u,
		      struct stat_figures *f)
{
	struct stat st;
	auto_close int fd = object_open(s, &object->key, &st);
	if (fd < 0)
		return fd;
	int64_t cached = cached_bytes(fd, object->key.size);
	if (cached < 0)
		return (int)cached;

	uint64_t blocks = (uint64_t)st.st_blocks * 512, names = (uint64_t)st.st_nlink;
	f->ram_bytes += (uint64_t)cached;
	if (names > u->links + 1)  // what breaks meanwhile makes them less
		f->elsewhere += names - u->links - 1;
	if (u->links == 0 && names <= 1) {
		f->unused++;
		f->unused_bytes += blocks;
		return 0;
	}
	f->disk_bytes += blocks;
	if (u->links == 0)
		return 0;
	f->disk_saved += blocks * (u->links - 1);
	f->ram_saved += (uint64_t)cached * (u->guests - 1);
	return 0;
}

// They are sorted, and the first may be gone.
static bool is_variant_of(const struct known_object *a, const struct known_object *b)
{
	return a->key.size == b->key.size && a->key.identity == b->key.identity &&
	       digest_equal(a->key.digest, b->key.digest);
}

static void add_objects(struct store *s, const struct counting *c, struct stat_figures *f)
{
	for (size_t i = 0; i < c->known->count; i++) {
		const struct known_object *object = &c->known->objects[i];
		int r = add_object(s, object, &c->usage[i], f);
		if (r == -ENOENT)  // hashify gc has removed it meanwhile
			continue;
		f->objects++;
		f->variants += i > 0 && is_variant_of(object, object - 1);
		if (r < 0) {
			f->errors++;
			report_bad_object(&object->key, r);
		}
	}
}

static int count_quarantined(struct store *s, struct stat_figures *f)
{
	struct known quarantined;
	int r = known_load_quarantined(s, &quarantined);
	if (r < 0)
		return r;
	f->quarantined = quarantined.count;
	known_free(&quarantined);
	return 0;
}

int stat_pool(int pool, struct store *s, struct report *report, struct stat_figures *ret)
{
	struct known known;
	int r = known_load(s, NULL, false, 1, &known);
	if (r < 0)
		return r;

	struct stat_figures f = { 0 };
	auto_free struct usage *usage = calloc(known.count + 1, sizeof(*usage));
	struct counting counting = { .known = &known, .usage = usage };
	const struct walk walk = {
		.known = &known,
		.report = report,
		.dev = s->dev,
		.links_only = true,
		.on_link = on_link,
		.arg = &counting,
	};
	bool all = false;
	r = usage ? count_links(pool, &walk, &f, &all) : -ENOMEM;
	if (r == 0)
		r = count_quarantined(s, &f);
	if (r == 0)
		add_objects(s, &counting, &f);
	known_free(&known);
	if (!all)  // they may be where we could not look
		f.elsewhere = 0;
	if (r == 0)
		*ret = f;
	return r;
}
