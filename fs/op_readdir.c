#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/ops.h"
#include "fs/options.h"
#include "fs/stream.h"
#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/store.h"

static struct dir_stream *stream_of(const struct fuse_file_info *fi)
{
	return (struct dir_stream *)(uintptr_t)fi->fh;
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);
	struct dir_stream *s = fs->stateless_dirs ? NULL : stream_new();

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
		stream_free(&fs->streams, s);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	stream_free(&fs_of(req)->streams, stream_of(fi));
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

	if (strcmp(e->d_name, ".") == 0 || (r->dir == fs->root && dir_is_dots(e->d_name)))
		return r->dir->ino;
	if (fs->snapshots || e->d_type == DT_REG || e->d_type == DT_UNKNOWN)
		return node_peek_number(fs, r->dir, stream_fd(s), e->d_name, e->d_ino);
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

	if (dir_is_dots(e->d_name) || node_lookup_listed(fs, r->dir, stream_fd(s), e->d_name, &entry) < 0) {
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
	int r = stream_seek(fs, reply->dir, s, offset);
	return r < 0 ? r : fill(fs, s, reply);
}

static int read_open(struct hashfs *fs, struct dir_stream *s, off_t offset, struct reply *reply)
{
	stream_take(&fs->streams, s);
	int r = read_from(fs, s, offset, reply);
	stream_keep(&fs->streams, s);
	return r;
}

static int read_stateless(struct hashfs *fs, off_t offset, struct reply *reply)
{
	struct dir_stream s = { 0 };

	int r = read_from(fs, &s, offset, reply);
	stream_drop(&s);
	return r;
}

static int read_some(struct hashfs *fs, struct dir_stream *s, off_t offset, struct reply *reply)
{
	if (!reply->buf)
		return -ENOMEM;
	return s ? read_open(fs, s, offset, reply) : read_stateless(fs, offset, reply);
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct dir_stream *s,
		     bool plus)
{
	struct hashfs *fs = fs_of(req);
	auto_free char *buf = malloc(size);
	struct reply reply = { .req = req, .dir = node_of(fs, ino), .plus = plus, .buf = buf, .size = size };

	int r = read_some(fs, s, offset, &reply);
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
