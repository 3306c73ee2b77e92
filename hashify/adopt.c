#include "hashify/adopt.h"

#include "hashify/links.h"
#include "hashify/newobject.h"
#include "hashify/ondisk.h"
#include "hashify/report.h"
#include "hashify/whatif.h"
#include "store/base/cleanup.h"
#include "store/identity.h"
#include "store/object.h"
#include "store/replace.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>

struct adopter {
	struct adopt *shared;       // borrowed
	struct reader *reader;      // borrowed
	struct tally *tally;        // borrowed
	struct replacer *replacer;  // owned; NULL in a dry run
	struct groups groups;       // owned
	struct links links;         // owned
	uint64_t reopened;          // bytes, since they were asked for
	struct ondisk ondisk;
};

// What became of a file. Errors that are the file's own are counted where they happen.
enum outcome {
	DONE,      // linked, or skipped with a reason
	NO_MATCH,  // other content, or no object to be had
	FULL       // identical, but the object can take no more names
};

void adopt_init(struct adopt *a, int pool)
{
	struct statfs fs;

	a->link_limit = object_link_limit(pool);
	a->is_tmpfs = fstatfs(pool, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
	durable_init(&a->durable, a->store ? a->store->dir : -1);
	dirtimes_init(&a->dirtimes);
}

void adopt_destroy(struct adopt *a)
{
	dirtimes_destroy(&a->dirtimes);
	durable_destroy(&a->durable);
}

int adopter_new(struct adopt *shared, struct reader *reader, struct tally *tally, unsigned worker,
		struct adopter **ret)
{
	struct adopter *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	*a = (struct adopter){
		.shared = shared,
		.reader = reader,
		.tally = tally,
		.ondisk = { &shared->durable, reader, &a->reopened, shared->dry_run, shared->is_tmpfs },
		.groups = { .known = shared->known, .store = shared->store, .ignored = shared->ignored },
	};
	int r = shared->dry_run ? 0 : replacer_new(shared->store, worker, shared->waiting, &a->replacer);
	a->links = (struct links){ shared->trees, reader, shared->report, tally, .replacer = a->replacer };
	if (r == 0)
		r = links_init(&a->links);
	if (r < 0) {
		replacer_free(a->replacer);
		free(a);
		return r;
	}
	reader_while_reading(reader, adopter_tidy, a);
	*ret = a;
	return 0;
}

static void skip(struct adopter *a, const struct tree_file *f, enum reason reason, int err)
{
	struct report_place place = report_place_of(a->shared->trees, f);
	report_skip(a->shared->report, a->tally, &place, reason, err);
}

int adopter_free(struct adopter *a)
{
	if (!a)
		return 0;
	groups_clear(&a->groups);
	if (a->replacer) {
		replacer_end(a->replacer);
		links_flush(&a->links);
		replacer_free(a->replacer);
	}
	reader_while_reading(a->reader, NULL, NULL);
	int r = a->links.error;
	links_destroy(&a->links);
	free(a);
	return r;
}

uint64_t adopter_reopened(struct adopter *a)
{
	uint64_t bytes = a->reopened;
	a->reopened = 0;
	return bytes;
}

void adopter_let_go(struct adopter *a)
{
	groups_close_all(&a->groups);
}

void adopter_tidy(void *adopter)
{
	struct adopter *a = adopter;
	if (a->replacer)
		replacer_tidy(a->replacer);
}

static uint64_t stamp_of(const struct adopter *a, const struct stat *st)
{
	return index_stamp(a->shared->hashed->seed, (uint64_t)st->st_size, st->st_mtim, st->st_ctim);
}

// Opens the file of @t again, if it is still as it was hashed.
static int reopen(struct adopter *a, const struct target *t, struct reading *ret)
{
	int err = reader_open(a->reader, t->file, ret);
	if (err < 0)
		return err;
	a->reopened += t->file->size;
	err = stamp_of(a, &ret->claim.st) == t->stamp ? 0 : -ESTALE;
	ret->is_fresh = t->stays_fresh;
	if (err < 0)
		reader_close(ret);
	return err;
}

static int open_target(struct adopter *a, struct target *t)
{
	if (t->slot >= 0)
		return 0;
	struct reading r;
	bool in_store = t->is_object && !(t->file && a->shared->dry_run);
	int err = in_store ? reader_open_object(a->shared->store, &t->key, &r) : reopen(a, t, &r);
	if (err < 0)
		return err;
	if (in_store && !t->file && !t->was_read)
		a->reopened += t->key.size;
	t->was_read = true;  // an object's pages stay
	if (t->is_recalled) {
		reader_ahead(a->reader, &(struct reading *){ &r }, 1, true);
		t->stays_fresh = ondisk_stays_fresh(&a->ondisk, &r);
		t->pages = reader_take_pages(&r);
		t->is_recalled = false;
	}
	if (t->names == 0)
		t->names = r.claim.st.st_nlink;
	groups_set_open(&a->groups, t, &r);
	return 0;
}

// Same content, and all else that names of one inode share? 1 or 0, or the error of reading them.
static int is_same(struct adopter *a, struct reading *x, struct reading *y)
{
	if (!identity_equal(&x->claim.st, &x->xattrs, &y->claim.st, &y->xattrs, a->shared->ignored))
		return 0;
	if (x->claim.st.st_size != y->claim.st.st_size)
		return 0;
	return reader_equal(a->reader, x, y);
}

static int replace_in(struct adopter *a, const struct target *t, struct reading *r, int dir, const char *path)
{
	const struct tree_file *f = r->file;
	const struct claim *object = &groups_reading(&a->groups, t)->claim;
	struct dirtimes_visit visit = dirtimes_visit(&a->shared->dirtimes, f, dir);
	const struct victim victim = {
		dir, f->name, path, &r->xattrs, &r->claim, dirtimes_enter, dirtimes_leave, &visit,
	};
	return replacer_run(a->replacer, &victim, &t->key, object->fd, object->st.st_ino);
}

static int replace(struct adopter *a, struct target *t, struct reading *r)
{
	if (a->shared->dry_run) {
		if (a->shared->trees[r->file->guest].dirs[r->file->dir].is_frozen)
			return -EPERM;
		if (t->names >= a->shared->link_limit)
			return -EMLINK;
		t->names++;
		return REPLACED;
	}
	auto_free char *path = tree_path(&a->shared->trees[r->file->guest], r->file->dir, r->file->name);
	if (!path)
		return -ENOMEM;
	int dir = reader_dir(a->reader, r->file);
	if (dir < 0)
		return dir;
	return replace_in(a, t, r, dir, path);
}

static enum reason reason_of_replacing(struct adopter *a, const struct reading *r, int err)
{
	bool frozen = err == -EPERM && reader_is_frozen(a->reader, r);
	return frozen ? REASON_FLAGS : reason_of_linking(err);
}

// Links @r, which is closed then, to @t, which has been found the same.
static enum outcome link_to(struct adopter *a, struct target *t, struct reading *r)
{
	int replaced = replace(a, t, r);
	if (replaced == -EMLINK) {
		t->full = true;
		return FULL;
	}
	if (replaced == REPLACED && !a->shared->dry_run)
		pages_free(&r->pages);  // they go with the inode
	if (replaced == REPLACED)
		links_count(&a->links, r);
	else if (replaced == KEPT_CHANGED)
		skip(a, r->file, REASON_CHANGED, 0);
	else
		skip(a, r->file, reason_of_replacing(a, r, replaced), replaced);
	return DONE;
}

// A guest's file that was to become an object stays what it is.
static void skip_target(struct adopter *a, struct target *t, enum reason reason, int err)
{
	group_refuse(t);
	skip(a, t->file, reason, err);
	groups_close(&a->groups, t);
}

static enum outcome refuse(struct adopter *a, struct target *t, int err)
{
	if (t->file && !t->is_object) {
		skip_target(a, t, reason_of_reading(err), err);
		return NO_MATCH;
	}
	group_refuse(t);
	groups_close(&a->groups, t);
	// It would have been one; or gc or verify, which may run beside us, has removed it.
	if (a->shared->dry_run && (t->file || err == -ENOENT))
		return NO_MATCH;
	report_bad_object(&t->key, err);
	// Who has it open for writing now may have closed it the next time.
	a->tally->bad_objects += err != -EAGAIN;
	return NO_MATCH;
}

// A copy of the file that @t has open becomes the object in its place, and the file a link to it. It is
// counted as what has become the object.
static int adopt_copy(struct adopter *a, struct target *t)
{
	struct store *s = a->shared->store;
	struct reading file, object;

	groups_take_open(&a->groups, t, &file);
	int r = newobject_of_copy(s, a->reader, &file, &t->key, &object);
	if (r == 0) {
		a->reopened += 3 * t->key.size;
		groups_set_open(&a->groups, t, &object);
		r = is_same(a, &file, groups_reading(&a->groups, t));
		r = r == 1 ? replace(a, t, &file) : r < 0 ? r : KEPT_CHANGED;
	}
	if (r == REPLACED) {
		reader_close(&file);
		return 0;
	}
	if (t->slot >= 0)
		newobject_forget(s, groups_reading(&a->groups, t), &t->key);
	groups_close(&a->groups, t);
	groups_set_open(&a->groups, t, &file);
	return r < 0 ? r : -ESTALE;
}

// MADE_ANEW: what was compared with the file before has not been compared with the object.
enum made { MADE_OBJECT, MADE_ANEW };
static int make_of_file_or_copy(struct adopter *a, struct target *t)
{
	struct store *s = a->shared->store;
	struct reading *r = groups_reading(&a->groups, t);
	bool anew = t->is_hearsay || !r->is_fresh;
	int err = anew ? ondisk_read_again(&a->ondisk, t, r) : 0;
	if (err < 0)
		return err;
	bool is_copy = !r->is_fresh || !newobject_may_be(s, r);
	err = is_copy ? adopt_copy(a, t) : newobject_of_file(s, r, &t->key);
	return err < 0 ? err : anew || is_copy ? MADE_ANEW : MADE_OBJECT;
}

// Makes the file that @t has open an object, the next variant of its group; or skips it.
static int make_object(struct adopter *a, struct target *t)
{
	const struct reading *r = groups_reading(&a->groups, t);
	int err = 0;

	t->key = (struct object_key){
		.digest = t->group->digest,
		.size = t->group->size,
		.identity = identity_digest(a->shared->hashed->seed, &r->claim.st, &r->xattrs, 0),
		.variant = group_free_variant(t->group),
	};
	enum reason left = a->shared->dry_run ? REASON_NONE : ondisk_make(&a->ondisk, t, r, &err);
	if (left != REASON_NONE) {  // which says nothing of its equals
		skip_target(a, t, left, err < 0 ? err : 0);
		return -EIO;
	}
	int made = a->shared->dry_run ? MADE_OBJECT : make_of_file_or_copy(a, t);
	t->group->error = 0;
	if (made < 0) {
		left = reason_of_replacing(a, groups_reading(&a->groups, t), made);
		t->group->error = left == REASON_FLAGS ? 0 : made;
		skip_target(a, t, left, made);
		return made;
	}
	t->is_object = t->is_on_disk = true;
	t->file->traits |= WHATIF_OBJECT;
	t->names = 2;
	if (!a->shared->dry_run)
		pages_free(&t->pages);  // all guests are to have them
	struct report_place place = report_place_of(a->shared->trees, t->file);
	report_object(a->shared->report, a->tally, &place);
	return made;
}

static enum outcome try_target(struct adopter *a, struct target *t, struct reading *r)
{
	if (t->full || t->refused)
		return NO_MATCH;
	int err = open_target(a, t);
	if (err < 0)
		return refuse(a, t, err);
	struct reading *object = groups_reading(&a->groups, t);
	// The guest has moved a directory, and the walk has met the file twice.
	if (object->claim.st.st_ino == r->claim.st.st_ino) {
		skip(a, r->file, REASON_CHANGED, 0);
		return DONE;
	}

	int same = t->is_object && !a->shared->dry_run ? ondisk_find(&a->ondisk, t, object) : 0;
	if (same == 0)
		same = is_same(a, r, object);
	if (same == -EINTR) {
		skip(a, r->file, REASON_STOPPED, 0);
		return DONE;
	}
	if (same == -EAGAIN && claim_is_broken(&r->claim)) {
		skip(a, r->file, REASON_IN_USE, 0);
		return DONE;
	}
	// Whose error it is shows when @r has been read by itself.
	if (same < 0)
		return r->hashed || claim_is_broken(&object->claim) ? refuse(a, t, same) : NO_MATCH;
	if (same == 0)
		return NO_MATCH;
	if (!reader_holds(object, t->is_object))
		return refuse(a, t, -EAGAIN);
	reader_watch(a->reader, r);
	int made = t->is_object ? MADE_OBJECT : make_object(a, t);
	reader_watch_no_more(a->reader);
	if (made < 0)
		return NO_MATCH;
	return made == MADE_ANEW ? try_target(a, t, r) : link_to(a, t, r);
}

// Tries all that the group of @r, which is hashed, has.
static enum outcome try_group(struct adopter *a, struct group *group, struct reading *r)
{
	enum outcome o = NO_MATCH;
	for (struct target *t = group->targets, *next; t && o != DONE; t = next) {
		next = t->next;  // before it is refused
		enum outcome tried = try_target(a, t, r);
		if (tried != NO_MATCH)
			o = tried;
		if (tried == DONE)
			groups_learn(&a->groups, t, r->file);
	}
	return o;
}

// Is the index to be told of it? A row does not tell of rights, which whatif.h has to know of; few files have
// them.
static bool is_news(const struct adopter *a, const struct reading *r)
{
	return durable_settled(&a->shared->durable, &r->claim.st) && reader_rights(r) == 0;
}

// The file of @r becomes a target. A small one stays open for the next, which is about to come if one does.
static struct target *remember(struct adopter *a, struct group *group, struct reading *r)
{
	struct target *t = group_add(group, r->file);
	if (!t) {
		skip(a, r->file, REASON_READ, -ENOMEM);
		return NULL;
	}
	t->stamp = stamp_of(a, &r->claim.st);
	t->is_news = is_news(a, r);
	t->stays_fresh = ondisk_stays_fresh(&a->ondisk, r);
	t->pages = reader_take_pages(r);
	groups_learn(&a->groups, t, r->file);
	if (group->size <= READER_SMALL)
		groups_set_open(&a->groups, t, r);
	return t;
}

static void take_hashed(struct adopter *a, struct reading *r, bool full)
{
	struct group *group = groups_of(&a->groups, (uint64_t)r->claim.st.st_size, r->identity, r->digest);
	enum outcome o = group ? try_group(a, group, r) : DONE;
	if (!group)
		skip(a, r->file, REASON_READ, -ENOMEM);
	if (group)
		group->rights = reader_rights(r);
	if (o == DONE)
		return;
	struct target *t = remember(a, group, r);
	if (!t || !(full || o == FULL))
		return;
	// The objects with this content can take no more names: this is the next.
	if (t->slot < 0)
		groups_set_open(&a->groups, t, r);
	make_object(a, t);
}

// In the index, of a file that was not read.
static const struct digest no_digest;

enum recalled adopt_recalled(const struct adopt *a, const struct tree_file *f, uint64_t *ret_identity)
{
	if (!f->row)
		return RECALLED_NOTHING;
	const struct index_file *row = hashed_row(a->hashed, f->row);
	*ret_identity = row->identity;
	return digest_equal(row->digest, no_digest) ? RECALLED_IDENTITY : RECALLED_DIGEST;
}

void adopter_leave_unread(struct adopter *a, const struct reading *r)
{
	if (!is_news(a, r))
		return;
	const struct index_file f = {
		.ino = r->file->ino,
		.stamp = stamp_of(a, &r->claim.st),
		.digest = no_digest,
		.identity = r->identity,
	};
	hashed_add(a->shared->hashed, &f);
}

bool adopter_recall(struct adopter *a, struct tree_file *f)
{
	const struct index_file *row = hashed_row(a->shared->hashed, f->row);
	struct group *group = groups_of(&a->groups, f->size, row->identity, row->digest);
	if (group && group->targets)
		return false;
	struct target *t = group ? group_add(group, f) : NULL;
	if (!t) {
		skip(a, f, REASON_READ, -ENOMEM);
		return true;
	}
	t->stamp = row->stamp;
	t->is_recalled = t->is_hearsay = true;
	return true;
}

void adopter_take(struct adopter *a, struct reading *r)
{
	adopter_tidy(a);
	groups_close_wanted(&a->groups);
	struct target *likely = groups_predict(&a->groups, r);
	enum outcome o = likely ? try_target(a, likely, r) : NO_MATCH;
	if (o == DONE) {
		groups_learn(&a->groups, likely, r->file);
		likely->group->rights = reader_rights(r);
	}
	if (o != DONE && r->file->size > READER_SMALL)
		adopter_let_go(a);  // or who wants to write to one of those waits for all of this one, too
	if (o != DONE)
		ondisk_renew(&a->ondisk, r);
	int err = o == DONE ? 0 : reader_hash(a->reader, r);
	if (err < 0)
		skip(a, r->file, reason_of_reading(err), err);
	else if (o != DONE)
		take_hashed(a, r, o == FULL);
	reader_close(r);
}

static uint32_t alone_as(const struct adopter *a, const struct target *t)
{
	const struct adopt *s = a->shared;
	const struct whatif_pass pass = { .known = s->known, .store = s->store, .ignored = s->ignored };
	bool twin = t->group->rights == 0 && whatif_has_twin(&pass, t->file, t->group->digest);
	return WHATIF_ALONE | (twin ? WHATIF_XATTRS : 0);
}

// It was met once; or its equals could not become the object that it would be a link to.
static void end_target(struct adopter *a, const struct target *t, enum reason left)
{
	int err = t->group->error;
	enum reason failed = err < 0 ? reason_of_linking(err) : REASON_NONE;
	if (reason_is_error(failed))
		skip(a, t->file, failed, err);
	else
		skip(a, t->file, left, 0);
	if (left == REASON_ALONE && !reason_is_error(failed))
		t->file->traits |= alone_as(a, t);
	if (t->is_news)
		hashed_add(a->shared->hashed, &(struct index_file){
						      .ino = t->file->ino,
						      .stamp = t->stamp,
						      .digest = t->group->digest,
						      .identity = t->group->identity,
					      });
}

// Only now: it was to be read again if another had been equal.
static void drop_pages(struct adopter *a, const struct target *t)
{
	if (t->pages.size == 0)
		return;
	if (t->slot >= 0)
		pages_drop(groups_reading(&a->groups, t)->claim.fd, &t->pages);
	else
		reader_drop_pages(a->reader, t->file, &t->pages);
}

void adopter_end_class(struct adopter *a, enum reason left)
{
	a->tally->if_xattrs += groups_differ_in_xattrs(&a->groups, a->shared->dry_run);
	for (struct group *group = a->groups.all; group; group = group->next) {
		for (struct target *t = group->targets; t; t = t->next) {
			if (t->file && !t->is_object)
				end_target(a, t, left);
			drop_pages(a, t);
		}
		for (struct target *t = group->refused; t; t = t->next)
			drop_pages(a, t);
	}
	groups_clear(&a->groups);
}
