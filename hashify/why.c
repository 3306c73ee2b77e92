#include "hashify/why.h"

#include "hashify/findings.h"
#include "hashify/guests.h"
#include "hashify/judge.h"
#include "hashify/known.h"
#include "hashify/place.h"
#include "hashify/policy.h"
#include "hashify/report.h"
#include "hashify/text.h"
#include "hashify/walk.h"
#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/claim.h"
#include "store/content.h"
#include "store/digest.h"
#include "store/held.h"
#include "store/identity.h"
#include "store/mark.h"
#include "store/object.h"
#include "store/quarantine.h"
#include "store/xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// Files of the same size that are compared at most; those with the same name come first.
#define CANDIDATES 2000

// The file that is asked about.
struct subject {
	const struct place *at;
	const struct policy *policy;
	unsigned ignored;  // of enum identity_field
	const char *name;  // in its directory
	int fd;            // owned; -1: it is none that could be opened
	struct stat st;
	struct xattr_set xattrs;  // owned
	struct digest digest;
	char *buffers[2];  // owned, CONTENT_BUFFER_SIZE bytes each
	struct known known;
	struct mounts mounts;  // owned
	struct report report;
	bool is_covered;  // findings.h
	bool is_frozen;   // its directory is: it can become an object, but no link
	bool is_first;    // it would be the object, and not what it was found equal to
};

void why_free(struct why *w)
{
	names_free(&w->names);
	free(w->list);
	*w = (struct why){ 0 };
}

// All names in guests that are links to the object.
static int add_links(struct subject *s, const struct known_object *object, struct why *w)
{
	struct findings found = { 0 };
	int r = findings_add(&found, &(struct finding){ .key = object->key, .ino = object->ino });
	if (r == 0)
		r = findings_find_names(&found, s->at->pool.dir, s->at->pool.store->dev, &s->report,
					&w->errors);
	if (r == 0) {
		s->is_covered = found.is_covered;
		w->names = found.list[0].names;
		found.list[0].names = (struct names){ 0 };
	}
	findings_free(&found);
	w->key = object->key;
	return r;
}

// In what a file differs from the subject, apart from its content.
struct difference {
	bool is_none;       // but for what is ignored
	unsigned fields;    // of enum identity_field
	bool gives_rights;  // ignoring them all does not make the two one
};

static int compare_identity(const struct subject *s, int fd, struct difference *ret)
{
	struct xattr_set xattrs;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	int r = xattr_read(fd, &xattrs);
	if (r < 0)
		return r;
	unsigned fields = identity_differs(&s->st, &s->xattrs, &st, &xattrs);
	*ret = (struct difference){
		.is_none = identity_equal(&s->st, &s->xattrs, &st, &xattrs, s->ignored),
		.fields = fields,
		.gives_rights = !identity_equal(&s->st, &s->xattrs, &st, &xattrs, fields),
	};
	xattr_free(&xattrs);
	return 0;
}

// Is there nothing yet that the subject differs from so little? What can be ignored is less than what cannot.
static bool is_least(const struct why *w, const struct difference *d)
{
	if (w->state != WHY_DIFFERENT)
		return true;
	if (w->gives_rights != d->gives_rights)
		return w->gives_rights;
	return __builtin_popcount(d->fields) < __builtin_popcount(w->differs);
}

static void take_difference(struct why *w, const struct difference *d)
{
	w->state = d->is_none ? WHY_NEXT : WHY_DIFFERENT;
	w->differs = d->fields;
	w->gives_rights = d->gives_rights;
}

static int hash(struct subject *s)
{
	struct digest_stream *stream = digest_stream_new(s->at->pool.store->seed);
	if (!stream)
		return -ENOMEM;
	ssize_t got;
	for (uint64_t at = 0; (got = fd_pread_all(s->fd, s->buffers[0], CONTENT_BUFFER_SIZE, at)) > 0;
	     at += (uint64_t)got)
		digest_stream_update(stream, s->buffers[0], (size_t)got);
	s->digest = digest_stream_final(stream);
	digest_stream_free(stream);
	return (int)got;
}

// Looks for an object of this content, and fills @w if there is one.
static int find_object(struct subject *s, struct why *w)
{
	const struct known_object *best = NULL;

	for (size_t i = 0; i < s->known.count && w->state != WHY_NEXT; i++) {
		const struct known_object *o = &s->known.objects[i];
		if (o->key.size != (uint64_t)s->st.st_size || !digest_equal(o->key.digest, s->digest))
			continue;
		struct stat st;
		struct difference d = { 0 };
		auto_close int fd = object_open(s->at->pool.store, &o->key, &st);
		// One in quarantine has a key of its own, as it happens that of another object.
		if (fd < 0 || st.st_ino != o->ino || compare_identity(s, fd, &d) < 0 || !is_least(w, &d))
			continue;
		if (content_equal(s->fd, fd, o->key.size, s->buffers[0], s->buffers[1]) != 1)
			continue;  // damaged, whatever its name says
		best = o;
		take_difference(w, &d);
	}
	return best ? add_links(s, best, w) : 0;
}

// The files of the pool that have the subject's size.
struct candidates {
	struct subject *subject;
	const struct tree_file **files;  // owned; those of the subject's name first
	size_t count, same_name;
};

static void add_candidate(struct tree_file *f, void *arg)
{
	struct candidates *c = arg;
	const struct subject *s = c->subject;
	if (f->size != (uint64_t)s->st.st_size || f->ino == s->st.st_ino)
		return;
	bool same_name = strcmp(f->name, s->name) == 0;
	if (c->count < CANDIDATES)
		c->count++;
	else if (!same_name || c->same_name == CANDIDATES)
		return;
	size_t at = c->count - 1;
	if (same_name) {
		c->files[at] = c->files[c->same_name];
		at = c->same_name++;
	}
	c->files[at] = f;
}

// Fills @w, if it has the same content and differs less than what is there.
static int compare_candidate(struct subject *s, const struct tree *t, const struct tree_file *f,
			     struct why *w)
{
	struct difference d = { 0 };
	auto_close int dir = tree_open_dir(t, s->at->pool.dir, f->dir);
	auto_close int fd = dir < 0 ? dir : beneath_open_file(dir, f->name);
	if (fd < 0 || content_equal(s->fd, fd, f->size, s->buffers[0], s->buffers[1]) != 1)
		return 0;
	if (compare_identity(s, fd, &d) < 0 || !is_least(w, &d))
		return 0;
	s->is_first = s->st.st_ino < f->ino;
	if (d.is_none && s->is_first && t->dirs[f->dir].is_frozen)
		return 0;
	names_free(&w->names);
	take_difference(w, &d);
	return names_add(&w->names, tree_path(t, f->dir, f->name));
}

static int compare_all(struct subject *s, const struct tree *trees, size_t count, struct why *w)
{
	struct candidates c = { .subject = s, .files = calloc(CANDIDATES, sizeof(struct tree_file *)) };
	if (!c.files)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		tree_each_file(&trees[i], add_candidate, &c);
	int r = 0;
	for (size_t i = 0; i < c.count && r == 0 && w->state != WHY_NEXT; i++)
		r = compare_candidate(s, &trees[c.files[i]->guest], c.files[i], w);
	free(c.files);
	return r;
}

static int find_private(struct subject *s, struct why *w)
{
	struct tally tally = { 0 };
	struct tree *trees;
	size_t count;
	const struct walk walk = {
		.known = &s->known,
		.report = &s->report,
		.dev = s->at->pool.store->dev,
		.mounts = &s->mounts,
		.policy = s->policy,
	};
	int r = guests_list(s->at->pool.dir, NULL, &trees, &count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count && r == 0; i++)
		r = walk_guest(&walk, s->at->pool.dir, &trees[i], &tally);
	if (r == 0)
		r = compare_all(s, trees, count, w);
	for (size_t i = 0; i < count; i++)
		tree_free(&trees[i]);
	free(trees);
	return r;
}

static int leave(struct why *w, enum reason reason, int err)
{
	w->state = WHY_LEFT;
	w->reason = reason;
	w->err = err;
	return 1;
}

static int find_twins(struct subject *s, struct why *w)
{
	w->state = WHY_ALONE;
	int r = hash(s);
	if (r == 0)
		r = find_object(s, w);
	if (r == 0 && w->state != WHY_NEXT)
		r = find_private(s, w);
	if (r == 0 && w->state == WHY_NEXT && s->is_frozen && !s->is_first) {
		names_free(&w->names);
		leave(w, REASON_FLAGS, 0);
	}
	return r;
}

// Something is mounted on the way to it, or on it.
static int leave_to_mount(struct why *w)
{
	leave(w, REASON_MOUNT, 0);
	w->is_below_mount = true;
	return 0;
}

static int leave_for_policy(const struct subject *s, struct why *w, int err, const struct policy_fault *fault)
{
	auto_free char *root = NULL;
	int guest = (int)strcspn(s->at->path, "/");
	if (asprintf(&root, "%.*s%s", guest, s->at->path, fault->in_rootfs ? "/" POLICY_ROOTFS : "") < 0)
		root = NULL;
	auto_free char *printable = root ? text_printable(root) : NULL;
	w->list = printable ? report_policy_text(printable, err, fault->line) : NULL;
	return leave(w, REASON_POLICY, err);
}

// Does a rule leave the file alone, whatever it holds? 1: yes, and @w says which.
static int find_rule(struct subject *s, int dir, struct why *w)
{
	struct statx st, dir_st;

	if (statx(dir, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &dir_st) < 0 ||
	    statx(dir, s->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) < 0)
		return leave(w, REASON_CHANGED, 0);
	s->is_frozen = judge_is_frozen(&dir_st);
	enum reason reason = judge(s->at->pool.store->dev, s->policy->min_size,
				   makedev(dir_st.stx_dev_major, dir_st.stx_dev_minor), &st);
	if (reason != REASON_NONE)
		return leave(w, reason, 0);
	int r = mounts_load(s->at->pool.mounted, &s->mounts);
	if (r == 0 && mounts_has(&s->mounts, st.stx_ino))
		return leave(w, REASON_MOUNT, 0);
	struct policy_fault fault = { 0 };
	r = policy_excludes(s->policy, s->at->pool.dir, s->at->path, &fault);
	if (r < 0)
		return leave_for_policy(s, w, r, &fault);
	return r > 0 ? leave(w, REASON_EXCLUDED, 0) : 0;
}

// Opens it as a pass does, which must be able to claim it.
static int open_subject(struct subject *s, int dir)
{
	struct claim claim;

	s->fd = beneath_open_file(dir, s->name);
	if (s->fd < 0)
		return s->fd;
	int r = claim_take(s->fd, &claim);
	if (r == 0)
		claim_drop(&claim);  // nobody who wants to write shall wait for us
	return r == -EINVAL ? -EOPNOTSUPP : r;
}

// Is that known without reading it all?
static bool is_damaged(struct store *s, const struct known_object *object)
{
	struct stat st;
	if (quarantine_has(s, &object->key, object->ino))
		return true;
	auto_close int fd = object_open(s, &object->key, &st);
	return fd == -EBADMSG;
}

static int find_file(struct subject *s, int dir, struct why *w)
{
	const struct known_object *object = known_ino(&s->known, s->st.st_ino);
	if (object && s->st.st_dev == s->at->pool.store->dev) {
		w->state = WHY_LINK;
		w->damaged = is_damaged(s->at->pool.store, object);
		int r = add_links(s, object, w);
		struct stat now;  // a guest may have replaced some meanwhile
		if (w->errors == 0 && !s->is_covered &&
		    fstatat(dir, s->name, &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_ino == s->st.st_ino &&
		    now.st_nlink > w->names.count + 1)
			w->elsewhere = now.st_nlink - w->names.count - 1;
		return r;
	}
	if (find_rule(s, dir, w) > 0) {
		w->is_held = w->reason == REASON_HARD_LINKED && held_has(s->at->pool.store, s->st.st_ino);
		return 0;
	}

	int r = open_subject(s, dir);
	if (r < 0) {
		enum reason reason = reason_of_reading(r);
		leave(w, reason, reason_is_error(reason) ? r : 0);
		return 0;
	}
	struct digest marked;
	struct stat as_link = s->st;
	as_link.st_nlink = 2;  // what one name says nothing of is asked for all the same
	w->copied_mark = mark_is_link(s->at->pool.store->marks, s->fd, &as_link) > 0 &&
			 mark_read(s->at->pool.store->marks, s->fd, &s->st, &marked) == -ENODATA;
	r = xattr_read(s->fd, &s->xattrs);
	if (r == -E2BIG) {
		leave(w, reason_of_reading(r), 0);
		return 0;
	}
	return r < 0 ? r : find_twins(s, w);
}

static void count_link(const struct known_object *object, const struct report_place *place, void *arg)
{
	struct why *w = arg;
	(void)place;
	w->links++;
	w->link_bytes += object->key.size;
}

static void count_file(struct tree_file *f, void *arg)
{
	struct why *w = arg;
	w->files++;
	w->file_bytes += f->size;
}

// What only regular files are left alone for.
static const enum reason of_files[] = { REASON_EMPTY,     REASON_HARD_LINKED, REASON_FLAGS,
					REASON_READ_ONLY, REASON_HOLES,       REASON_SUBVOLUME };

static int find_directory(struct subject *s, struct why *w)
{
	struct tally tally = { 0 };
	struct tree tree;
	const struct walk walk = {
		.known = &s->known,
		.report = &s->report,
		.dev = s->at->pool.store->dev,
		.on_link = count_link,
		.arg = w,
	};
	auto_close int dir = beneath_open(s->at->pool.dir, s->at->path, O_PATH | O_DIRECTORY, 0);
	if (dir == -EXDEV)
		return leave_to_mount(w);
	w->state = WHY_DIRECTORY;
	int r = tree_init(&tree, s->at->path, 0);
	if (r < 0)
		return r;
	r = walk_guest(&walk, s->at->pool.dir, &tree, &tally);
	tree_each_file(&tree, count_file, w);
	tree_free(&tree);
	for (size_t i = 0; i < sizeof(of_files) / sizeof(*of_files); i++)
		w->files += tally.skipped[of_files[i]];
	w->errors = tally_errors(&tally);
	return r;
}

static int find_at(struct subject *s, struct why *w)
{
	if (!strchr(s->at->path, '/'))
		return *s->at->path ? find_directory(s, w) : -EISDIR;
	auto_close int dir = place_open_parent(s->at, &s->name);
	if (dir == -EXDEV)
		return leave_to_mount(w);
	if (dir < 0)
		return dir;
	if (fstatat(dir, s->name, &s->st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return S_ISDIR(s->st.st_mode) ? find_directory(s, w) : find_file(s, dir, w);
}

int why_find(const struct place *at, const struct policy *policy, unsigned ignored, struct why *ret)
{
	struct subject s = { .at = at, .policy = policy, .ignored = ignored, .fd = -1 };

	*ret = (struct why){ 0 };
	report_init(&s.report, false, true);
	s.report.silent = true;
	s.buffers[0] = malloc(CONTENT_BUFFER_SIZE);
	s.buffers[1] = malloc(CONTENT_BUFFER_SIZE);
	int r = s.buffers[0] && s.buffers[1] ? known_load_linked(at->pool.store, &s.known) : -ENOMEM;
	if (r == 0)
		r = find_at(&s, ret);
	if (s.fd >= 0)
		fd_close(s.fd);
	xattr_free(&s.xattrs);
	known_free(&s.known);
	mounts_free(&s.mounts);
	free(s.buffers[0]);
	free(s.buffers[1]);
	report_destroy(&s.report);
	return r;
}
