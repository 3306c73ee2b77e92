#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/ops.h"
#include "fs/options.h"
#include "store/base/cleanup.h"
#include "store/store.h"

// An open directory, or with hashfs.stateless_dirs one read of it. The kernel sends one at a time (the file
// position's lock), and none as long as it has the entries in its cache.
struct dir_stream {
	DIR *dir;             // NULL: it was not read yet
	int fd;               // @dir's
	off_t offset;         // of @next, or where the next entry is
	struct dirent *next;  // read already but not replied yet, or NULL

	struct dirent **all;  // owned; with hashfs.snapshots
	int count, at;        // of @all
};

static struct dir_stream *stream_of(const struct fuse_file_info *fi)
{
	return (struct dir_stream *)(uintptr_t)fi->fh;
}

static void forget_all(struct dir_stream *s)
{
	for (int i = 0; s->all && i < s->count; i++)
		free(s->all[i]);
	free(s->all);
	s->all = NULL;
	s->count = s->at = 0;
	s->next = NULL;
}

static void stream_close(struct dir_stream *s)
{
	if (s->dir)
		closedir(s->dir);
	forget_all(s);
}

static void stream_free(struct dir_stream *s)
{
	stream_close(s);
	free(s);
}

static int read_all(struct node *n, struct dir_stream *s)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(n->names);

	forget_all(s);
	int count = scandirat(s->fd, ".", &s->all, NULL, NULL);
	if (count < 0)
		return -errno;
	s->count = count;
	return 0;
}

static int stream_open(struct hashfs *fs, struct node *n, struct dir_stream *s)
{
	if (s->dir)
		return 0;
	auto_close int fd = node_open(fs, n, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	s->dir = fdopendir(fd);
	if (!s->dir)
		return -errno;
	s->fd = take_fd(&fd);
	return 0;
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct hashfs *fs = fs_of(req);
	struct dir_stream *s = fs->stateless_dirs ? NULL : calloc(1, sizeof(*s));

	(void)ino;
	if (!s) {
		// The kernel takes the first for ever: it caches entries, and neither opens nor closes.
		reply_err(req, fs->stateless_dirs ? -ENOSYS : -ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)s;
	// What changes a directory comes by way of the kernel, which drops its entries then.
	fi->cache_readdir = fi->keep_cache = fs->opt->cache < 0;
	if (fuse_reply_open(req, fi) < 0)
		stream_free(s);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino, (void)fs_of(req);  // the order that fuse.h tells of
	stream_free(stream_of(fi));
	reply_err(req, 0);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);
	auto_close int fd = node_open(fs, node_of(fs, ino), O_RDONLY | O_DIRECTORY);

	(void)fi;
	if (fd < 0)
		reply_err(req, fd);
	else
		reply_err(req, (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0);
}

// Where there are snapshots, the beginning is what is there now. The entry that @offset follows, or the one
// it leads to, may be gone since: an entry's d_off is the place of the next one, and places ascend (btrfs).
static int seek_in_all(struct node *n, struct dir_stream *s, off_t offset)
{
	if (!s->all || (offset == 0 && s->offset != 0)) {
		int r = read_all(n, s);
		if (r < 0)
			return r;
		s->offset = 0;
	}
	if (offset == s->offset)
		return 0;
	for (s->at = 0; s->at < s->count && s->all[s->at]->d_off < offset; s->at++)
		;
	s->at += s->at < s->count;
	s->offset = offset;
	s->next = NULL;
	return 0;
}

static int stream_seek(struct hashfs *fs, struct node *n, struct dir_stream *s, off_t offset)
{
	if (fs->snapshots)
		return seek_in_all(n, s, offset);
	if (offset == s->offset)
		return 0;
	seekdir(s->dir, offset);
	s->offset = offset;
	s->next = NULL;
	return 0;
}

// 1 and the entry in s->next, 0 at the end, or -errno.
static int stream_peek(struct dir_stream *s)
{
	if (s->next)
		return 1;
	if (s->all) {
		s->next = s->at < s->count ? s->all[s->at++] : NULL;
		return s->next != NULL;
	}
	errno = 0;
	s->next = readdir(s->dir);
	if (!s->next)
		return -errno;
	return 1;
}

static void stream_advance(struct dir_stream *s)
{
	s->offset = s->next->d_off;
	s->next = NULL;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool is_hidden(const struct hashfs *fs, const struct node *dir, const struct dirent *e)
{
	return e->d_ino == fs->store->ino && dir->at.dev == fs->store->dev &&
	       strcmp(e->d_name, STORE_DIR) == 0;
}

// What is replied so far.
struct reply {
	fuse_req_t req;
	struct node *dir;
	bool plus;
	char *buf;
	size_t size, used;
};

// A directory may be a subvolume of its own, or in one of another's (btrfs). The mount's root has no parent
// that the guest may know of.
static uint64_t number_of(struct hashfs *fs, const struct reply *r, const struct dir_stream *s)
{
	const struct dirent *e = s->next;

	if (strcmp(e->d_name, ".") == 0 || (r->dir == fs->root && is_dot(e->d_name)))
		return r->dir->ino;
	if (fs->snapshots || e->d_type == DT_REG || e->d_type == DT_UNKNOWN)
		return node_peek_number(fs, r->dir, s->fd, e->d_name, e->d_ino);
	return e->d_ino;
}

static size_t add_plain(struct hashfs *fs, struct reply *r, const struct dir_stream *s)
{
	const struct dirent *e = s->next;
	struct stat st = { .st_ino = number_of(fs, r, s), .st_mode = (mode_t)e->d_type << 12 };

	return fuse_add_direntry(r->req, r->buf + r->used, r->size - r->used, e->d_name, &st, e->d_off);
}

// Each entry counts as a look-up, but for "." and "..".
static size_t add_plus(struct hashfs *fs, struct reply *r, const struct dir_stream *s)
{
	const struct dirent *e = s->next;
	struct fuse_entry_param entry = { 0 };
	size_t room = r->size - r->used;

	if (is_dot(e->d_name) || node_lookup_listed(fs, r->dir, s->fd, e->d_name, &entry) < 0) {
		entry = (struct fuse_entry_param){ 0 };  // the kernel looks it up itself if it wants to
		entry.attr.st_ino = number_of(fs, r, s);
		entry.attr.st_mode = (mode_t)e->d_type << 12;
	}
	size_t need = fuse_add_direntry_plus(r->req, r->buf + r->used, room, e->d_name, &entry, e->d_off);
	if (need > room && entry.ino)
		node_put(fs, node_of(fs, entry.ino), 1);
	return need;
}

static int fill(struct hashfs *fs, struct dir_stream *s, struct reply *r)
{
	int more;

	while ((more = stream_peek(s)) > 0) {
		if (!is_hidden(fs, r->dir, s->next)) {
			size_t need = r->plus ? add_plus(fs, r, s) : add_plain(fs, r, s);
			if (need > r->size - r->used)
				return 0;
			r->used += need;
		}
		stream_advance(s);
	}
	return r->used > 0 ? 0 : more;
}

static int read_from(struct hashfs *fs, struct dir_stream *s, off_t offset, struct reply *reply)
{
	int r = stream_open(fs, reply->dir, s);
	if (r == 0)
		r = stream_seek(fs, reply->dir, s, offset);
	return r < 0 ? r : fill(fs, s, reply);
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct dir_stream *s,
		     bool plus)
{
	struct hashfs *fs = fs_of(req);
	auto_free char *buf = malloc(size);
	struct reply reply = { .req = req, .dir = node_of(fs, ino), .plus = plus, .buf = buf, .size = size };
	struct dir_stream own = { 0 };

	int r = buf ? read_from(fs, s ? s : &own, offset, &reply) : -ENOMEM;
	stream_close(&own);
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_buf(req, buf, reply.used);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	read_dir(req, ino, size, offset, stream_of(fi), false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	read_dir(req, ino, size, offset, stream_of(fi), true);
}
