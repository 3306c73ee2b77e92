#include "hashify/whatif.h"

#include "hashify/filter.h"
#include "hashify/known.h"
#include "store/base/cleanup.h"
#include "store/identity.h"
#include "store/object.h"
#include "store/store.h"
#include "store/xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

// A hash of each is enough.
#define MTIME UINT32_C(0x00000fff)
#define OWNER UINT32_C(0x000ff000)
#define MODE UINT32_C(0x0ff00000)
#define SET_ID UINT32_C(0x10000000)

// Hundreds of kinds of files of one size are no evidence of anything.
#define KINDS_MAX 64

// Objects that are looked at, those of large files first: nothing else in a pass asks the disk for each.
#define OBJECTS_MAX 1000

// Instead of a row, of which there are fewer: the class is 32 bits of the digest.
#define ROW_HASHED UINT32_MAX

// Smaller files have hardly any holes, and of a group not all need be asked.
#define HOLES_LEAST ((uint64_t)64 * 1024)
#define ASKED_MAX 8

// Files that cannot be told apart by their traits.
struct kind {
	uint32_t traits;
	bool is_object;                   // some of them are one object, which stays what it is
	const struct object_key *object;  // borrowed: one whose rights are still to be looked at; NULL: none
	bool has_rights;                  // it gives rights by its xattrs
	size_t files;                     // that could still become links, each with content of its own
	size_t xattrs;                    // of these, with other xattrs than objects of this kind
};

struct kinds {
	struct kind list[2 * KINDS_MAX];
	size_t count;
};

struct estimate {
	const struct whatif_pass *pass;
	size_t looked_at;
	struct kinds objects;  // of the size being worked on
	struct whatif *ret;
};

static uint32_t hash(const void *data, size_t size, unsigned shift, uint32_t mask)
{
	return (uint32_t)digest_hash64(0, data, size) << shift & mask;
}

uint32_t whatif_traits(const struct stat *st)
{
	const int64_t mtime[] = { st->st_mtim.tv_sec, st->st_mtim.tv_nsec };
	const uint32_t owner[] = { st->st_uid, st->st_gid }, mode = st->st_mode;
	return hash(mtime, sizeof(mtime), 0, MTIME) | hash(owner, sizeof(owner), 12, OWNER) |
	       hash(&mode, sizeof(mode), 20, MODE) | (mode & (S_ISUID | S_ISGID) ? SET_ID : 0);
}

// Without what @ignored, of enum identity_field, leaves out. What gives rights always counts.
static uint32_t relax(uint32_t traits, unsigned ignored)
{
	uint32_t counts = MTIME | OWNER | MODE | SET_ID;
	if (ignored & IDENTITY_MTIME)
		counts &= ~MTIME;
	if (ignored & IDENTITY_OWNER && !(traits & SET_ID))
		counts &= ~OWNER;
	if (ignored & IDENTITY_MODE && !(traits & SET_ID))
		counts &= ~MODE;
	return traits & counts;
}

// The largest first.
static int compare(const void *pa, const void *pb)
{
	const struct tree_file *a = *(const struct tree_file *const *)pa,
			       *b = *(const struct tree_file *const *)pb;
	if (a->size != b->size)
		return a->size > b->size ? -1 : 1;
	return strcmp(a->name, b->name);
}

static int compare_keys(const void *pa, const void *pb)
{
	const struct tree_file *a = *(const struct tree_file *const *)pa,
			       *b = *(const struct tree_file *const *)pb;
	return a->class == b->class ? 0 : a->class < b->class ? -1 : 1;
}

// What it takes on the disk, if it is still there.
static uint64_t blocks(const struct whatif_pass *p, const struct tree_file *f)
{
	struct stat st;
	uint64_t usual = (f->size + 4095) / 4096 * 4096;
	if (f->size < HOLES_LEAST)
		return usual;
	auto_close int dir = tree_open_dir(&p->trees[f->guest], p->pool, f->dir);
	if (dir < 0 || fstatat(dir, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != f->ino)
		return usual;
	return (uint64_t)st.st_blocks * 512;
}

static uint64_t average_blocks(const struct whatif_pass *p, struct tree_file *const *files, size_t count)
{
	size_t asked = files[0]->size < HOLES_LEAST ? 1 : count < ASKED_MAX ? count : ASKED_MAX;
	uint64_t sum = 0;
	for (size_t i = 0; i < asked; i++)
		sum += blocks(p, files[i]);
	return sum / asked;
}

static struct kind *find_kind(struct kinds *k, uint32_t traits)
{
	for (size_t i = 0; i < k->count; i++)
		if (k->list[i].traits == traits)
			return &k->list[i];
	return NULL;
}

// The kind of @traits, which is added if there is room. NULL: there is not.
static struct kind *kind_of(struct kinds *k, uint32_t traits, size_t limit)
{
	struct kind *found = find_kind(k, traits);
	if (found || k->count >= limit)
		return found;
	k->list[k->count] = (struct kind){ .traits = traits };
	return &k->list[k->count++];
}

static void add_object(struct estimate *e, const struct known_object *o)
{
	struct stat st;
	if (object_stat(e->pass->store, &o->key, &st) < 0)
		return;
	struct kind *k = kind_of(&e->objects, relax(whatif_traits(&st), e->pass->ignored), KINDS_MAX);
	if (!k)
		return;
	k->is_object = true;
	k->object = &o->key;
}

static void look_at_objects(struct estimate *e, uint64_t size)
{
	size_t count;
	const struct known_object *objects = known_sized(e->pass->known, size, OBJECTS_MAX - e->looked_at,
							 &count);
	e->objects.count = 0;
	e->looked_at += count;
	for (size_t i = 0; i < count; i++)
		add_object(e, &objects[i]);
}

static bool has_rights(struct store *s, const struct object_key *key)
{
	auto_close int fd = object_open_unchecked(s, key);
	return fd >= 0 && xattr_get(fd, "security.capability", NULL, 0) > 0;
}

// Only of kinds that have a file whose xattrs are other ones.
static void look_at_rights(struct estimate *e, struct tree_file *const *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!(files[i]->traits & WHATIF_XATTRS))
			continue;
		struct kind *k = find_kind(&e->objects, relax(files[i]->traits, e->pass->ignored));
		if (!k || !k->object)
			continue;
		k->has_rights = has_rights(e->pass->store, k->object);
		k->object = NULL;
	}
}

static void add_file(const struct estimate *e, struct kinds *kinds, const struct tree_file *f)
{
	struct kind *k = kind_of(kinds, relax(f->traits, e->pass->ignored), 2 * KINDS_MAX);
	if (!k)
		return;
	bool stays = f->traits & WHATIF_OBJECT && !e->pass->dry_run;
	bool differs = f->traits & WHATIF_XATTRS && k->is_object && !k->has_rights;
	k->is_object |= stays;
	k->files += !stays;
	k->xattrs += differs;
}

// Of the kinds that are one with the @first if @ignored is ignored: how many files would go? Those of one
// kind differ from each other and from the objects of that kind.
static uint64_t merged_with(const struct kinds *k, size_t first, unsigned ignored)
{
	uint64_t files = 0, most = 0, objects = 0, own = 0;
	for (size_t i = 0; i < k->count; i++) {
		const struct kind *kind = &k->list[i];
		if (relax(kind->traits, ignored) != relax(k->list[first].traits, ignored))
			continue;
		files += kind->files;
		most = kind->files > most ? kind->files : most;
		objects += kind->is_object;
		own += kind->is_object ? kind->files : 0;
	}
	return objects == 0 ? files - most : objects == 1 ? files - own : files;
}

static uint64_t merged(const struct kinds *k, unsigned ignored)
{
	uint64_t away = 0;
	for (size_t i = 0; i < k->count; i++) {
		bool is_first = k->list[i].files > 0;
		for (size_t j = 0; j < i && is_first; j++)
			is_first = k->list[j].files == 0 ||
				   relax(k->list[j].traits, ignored) != relax(k->list[i].traits, ignored);
		away += is_first ? merged_with(k, i, ignored) : 0;
	}
	return away;
}

static uint32_t key_of(struct digest digest)
{
	return (uint32_t)digest.low;
}

static bool are_hashed(struct tree_file *const *files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (files[i]->row != ROW_HASHED)
			return false;
	return true;
}

// May an object of their size have the content of these files?
static bool may_have_object(const struct whatif_pass *p, struct tree_file *const *files, size_t count)
{
	size_t objects;
	const struct known_object *o = known_sized(p->known, files[0]->size, OBJECTS_MAX, &objects);
	if (objects == OBJECTS_MAX || !are_hashed(files, count))
		return true;
	for (size_t i = 0; i < objects; i++)
		if (key_of(o[i].key.digest) == files[0]->class)
			return true;
	return false;
}

// Files of one size and key.
static void add_group(struct estimate *e, struct tree_file *const *files, size_t count)
{
	struct kinds kinds;

	kinds.count = may_have_object(e->pass, files, count) ? e->objects.count : 0;
	memcpy(kinds.list, e->objects.list, kinds.count * sizeof(struct kind));
	for (size_t i = 0; i < count; i++)
		add_file(e, &kinds, files[i]);
	struct whatif away = {
		.mtime = merged(&kinds, IDENTITY_MTIME),
		.owner = merged(&kinds, IDENTITY_OWNER),
		.mode = merged(&kinds, IDENTITY_MODE),
	};
	for (size_t i = 0; i < kinds.count; i++)
		away.xattrs += kinds.list[i].xattrs;
	if (!(away.mtime | away.owner | away.mode | away.xattrs))
		return;
	uint64_t size = average_blocks(e->pass, files, count);
	e->ret->mtime += away.mtime * size;
	e->ret->owner += away.owner * size;
	e->ret->mode += away.mode * size;
	e->ret->xattrs += away.xattrs * size;
}

// Files of one size and name get one key, unless digests tell of all of them which are equal.
static void set_keys(struct tree_file *const *files, size_t count)
{
	const char *name = files[0]->name;
	uint32_t key = (uint32_t)digest_hash64(0, name, strlen(name));

	if (are_hashed(files, count))
		return;
	for (size_t i = 0; i < count; i++)
		key = files[i]->row == ROW_HASHED ? files[i]->class : key;
	for (size_t i = 0; i < count; i++) {
		files[i]->class = key;
		files[i]->row = 0;
	}
}

// Files of one size, in the order of their names.
static void add_size(struct estimate *e, struct tree_file **files, size_t count)
{
	look_at_objects(e, files[0]->size);
	look_at_rights(e, files, count);
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count && compare(&files[i], &files[end]) == 0;)
			end++;
		set_keys(&files[i], end - i);
	}
	qsort(files, count, sizeof(struct tree_file *), compare_keys);
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count && files[i]->class == files[end]->class;)
			end++;
		add_group(e, &files[i], end - i);
	}
}

static void add_all(struct estimate *e, struct tree_file **files, size_t count)
{
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count && files[i]->size == files[end]->size;)
			end++;
		add_size(e, &files[i], end - i);
	}
}

static bool is_twin(const struct whatif_pass *p, const struct tree_file *f, const struct object_key *key)
{
	struct stat st;
	auto_close int fd = object_open(p->store, key, &st);
	return fd >= 0 && (uint32_t)identity_class(p->store->seed, &st, p->ignored) == f->class;
}

bool whatif_has_twin(const struct whatif_pass *p, struct tree_file *f, struct digest digest)
{
	size_t count;
	bool found = false;
	const struct known_object *objects = known_sized(p->known, f->size, OBJECTS_MAX, &count);
	for (size_t i = 0; i < count && !found; i++)
		found = digest_equal(objects[i].key.digest, digest) && is_twin(p, f, &objects[i].key);
	f->row = ROW_HASHED;
	f->class = key_of(digest);
	return found;
}

// Could it become a link if something was ignored?
static bool counts(const struct whatif_pass *p, const struct tree_file *f)
{
	return f->traits & (WHATIF_ALONE | WHATIF_OBJECT) && !p->trees[f->guest].dirs[f->dir].is_frozen;
}

int whatif_add(const struct whatif_pass *p, struct whatif *ret)
{
	const struct classes *c = p->classes;
	struct estimate e = { .pass = p, .ret = ret };
	size_t count = 0;

	auto_free struct tree_file **files = calloc(c->file_count + 1, sizeof(struct tree_file *));
	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < c->file_count; i++)
		if (counts(p, c->files[i]))
			files[count++] = c->files[i];
	qsort(files, count, sizeof(struct tree_file *), compare);
	add_all(&e, files, count);
	return 0;
}
