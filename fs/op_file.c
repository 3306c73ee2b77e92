#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/attr.h"
#include "fs/break.h"
#include "fs/file.h"
#include "fs/hashfs.h"
#include "fs/later.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/opens.h"
#include "fs/ops.h"
#include "fs/sync.h"
#include "store/base/cleanup.h"
#include "store/base/sys.h"

void reply_opened(const struct opened *opened, struct fuse_file_info *fi)
{
	fi->fh = (uintptr_t)opened->file;
	fi->backing_id = opened->backing_id;
	fi->direct_io = opened->direct;
	// There is nothing to do on close: locks are the kernel's, and what a passthrough file holds is not
	// ours.
	fi->noflush = 1;
}

static void open_file(fuse_req_t req, fuse_ino_t ino, const void *args)
{
	struct hashfs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);
	struct fuse_file_info fi = *(const struct fuse_file_info *)args;
	struct opened opened;

	int r = opens_begin(fs, n, fi.flags, req, &opened);
	if (r == BREAK_TAKES_LONG || r == OPENS_MAY_WAIT) {
		later_serve(req, ino, open_file, args, sizeof(fi), r == OPENS_MAY_WAIT);
	} else if (r < 0) {
		reply_err(req, r);
	} else {
		reply_opened(&opened, &fi);
		if (fuse_reply_open(req, &fi) < 0)
			opens_end(fs, n, fi.flags, opened.file);
	}
}

static bool is_for_reading(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) == O_RDONLY;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);

	open_file(req, ino, fi);
	if (is_for_reading(fi))
		linger(&fs->linger);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);
	struct node *n = node_of(fs, ino);

	// Stores through a shared mapping have moved the times without the kernel's FUSE side knowing. And
	// what has changed between our O_TRUNC and its own, which sets the size it knows to 0, it does not
	// know either.
	bool changed = !is_for_reading(fi) || opens_emptied(fs, n);
	opens_end(fs, n, fi->flags, file_of(fi));
	if (changed)
		notify_attributes(fs, n);
	reply_err(req, 0);
	if (is_for_reading(fi))
		linger(&fs->linger);
}

// An fd for work on an open file: the daemon's own, or without one a new one on what the descriptor reads.
struct work_fd {
	int fd;
	int owned;
};

static struct work_fd work_fd(struct hashfs *fs, fuse_ino_t ino, const struct fuse_file_info *fi, int flags)
{
	const struct file *f = file_of(fi);
	if (f)
		return (struct work_fd){ .fd = f->fd, .owned = -1 };

	int fd = node_open_for_descriptor(fs, node_of(fs, ino), flags);
	return (struct work_fd){ .fd = fd, .owned = fd };
}

static void work_fd_close(struct work_fd *w)
{
	cleanup_close(&w->owned);
}

#define auto_work __attribute__((cleanup(work_fd_close)))

// In passthrough only read-ahead that was asked for comes here: readahead(2), posix_fadvise(2). It begins,
// and nobody waits for what it brings: whoever writes to the file may hold its lock for as long as he likes.
static void begin_read_ahead(int fd, char *buf, size_t size, off_t offset)
{
	const struct iovec all = { buf, size };
	(void)!preadv2(fd, &all, 1, offset, RWF_NOWAIT);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	auto_work struct work_fd w = work_fd(fs_of(req), ino, fi, O_RDONLY);
	auto_free char *buf = malloc(size);

	if (w.fd < 0 || !buf) {
		reply_err(req, w.fd < 0 ? w.fd : -ENOMEM);
		return;
	}
	if (!file_of(fi)) {
		begin_read_ahead(w.fd, buf, size, offset);
		reply_err(req, -EAGAIN);  // a second copy in memory is of no use, and less than all would
					  // move the size
		return;
	}
	ssize_t got = fd_pread_all(w.fd, buf, size, (uint64_t)offset);
	if (got < 0)
		reply_err(req, (int)got);
	else
		fuse_reply_buf(req, buf, (size_t)got);
}

// Does what is written come to us past the kernel's cache (opens.c: append-only files), perhaps? Then it
// leaves all that belongs to a write to us.
static bool may_be_past_cache(const struct fuse_file_info *fi)
{
	return fi->flags & O_APPEND;
}

static bool must_sync(const struct fuse_file_info *fi)
{
	return may_be_past_cache(fi) && (fi->flags & O_DSYNC);
}

// With FUSE_HANDLE_KILLPRIV_V2 the kernel leaves it to us in any case.
static bool must_kill_privileges(const struct hashfs *fs, const struct fuse_file_info *fi)
{
	return fs->passthrough || may_be_past_cache(fi);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	      struct fuse_file_info *fi)
{
	auto_work struct work_fd w = work_fd(fs_of(req), ino, fi, O_WRONLY);
	if (w.fd < 0) {
		reply_err(req, w.fd);
		return;
	}
	int r = must_kill_privileges(fs_of(req), fi) ? attr_kill_privileges(w.fd, req) : 0;
	ssize_t put = r < 0 ? r : pwrite(w.fd, data, size, offset);
	if (put < 0) {
		reply_err(req, r < 0 ? r : -errno);
		return;
	}
	r = must_sync(fi) ? sync_file(fs_of(req), w.fd, (fi->flags & O_SYNC) != O_SYNC) : 0;
	if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_write(req, (size_t)put);
}

// The guest's file is flushed, which is not what a descriptor of before a break reads: that has nothing to be
// flushed. Without a name it may be gone.
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct hashfs *fs = fs_of(req);
	const struct file *f = file_of(fi);
	auto_close int own = f ? -1 : node_open(fs, node_of(fs, ino), O_RDONLY);

	if (own == -ESTALE)
		reply_err(req, 0);
	else if (!f && own < 0)
		reply_err(req, own);
	else
		reply_err(req, sync_file(fs, f ? f->fd : own, datasync));
}

static int allocate(int fd, int mode, off_t offset, off_t length, fuse_req_t req)
{
	int r = attr_kill_privileges(fd, req);
	if (r < 0)
		return r;
	return fallocate(fd, mode, offset, length) < 0 ? -errno : 0;
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		  struct fuse_file_info *fi)
{
	// An append-only file can be opened in this way alone, and allocation minds no O_APPEND.
	auto_work struct work_fd w = work_fd(fs_of(req), ino, fi, O_WRONLY | O_APPEND);

	if (w.fd < 0)
		reply_err(req, w.fd);
	else
		reply_err(req, allocate(w.fd, mode, offset, length, req));
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	auto_work struct work_fd w = work_fd(fs_of(req), ino, fi, O_RDONLY);
	if (w.fd < 0) {
		reply_err(req, w.fd);
		return;
	}
	off_t r = lseek(w.fd, offset, whence);
	if (r < 0)
		reply_err(req, -errno);
	else
		fuse_reply_lseek(req, r);
}

// A longer copy would keep a thread, and the caller from being killed, for so long; he asks for the rest.
#define MOST_COPIED_AT_ONCE ((size_t)1 << 20)

// A clone copies nothing, so it may be of all.
static ssize_t copy_range(int from, off_t from_offset, int to, off_t to_offset, size_t size, unsigned flags)
{
	ssize_t cloned = sys_clone_range(to, (uint64_t)to_offset, from, (uint64_t)from_offset, size);
	if (cloned >= 0)
		return cloned;
	if (size > MOST_COPIED_AT_ONCE)
		size = MOST_COPIED_AT_ONCE;
	ssize_t copied = copy_file_range(from, &from_offset, to, &to_offset, size, flags);
	return copied < 0 ? -errno : copied;
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t offset_in, struct fuse_file_info *fi_in,
			fuse_ino_t out, off_t offset_out, struct fuse_file_info *fi_out, size_t size,
			int flags)
{
	struct hashfs *fs = fs_of(req);
	auto_work struct work_fd from = work_fd(fs, in, fi_in, O_RDONLY);
	auto_work struct work_fd to = work_fd(fs, out, fi_out, O_WRONLY);

	if (from.fd < 0 || to.fd < 0) {
		reply_err(req, from.fd < 0 ? from.fd : to.fd);
		return;
	}
	ssize_t copied = attr_kill_privileges(to.fd, req);
	if (copied == 0)
		copied = copy_range(from.fd, offset_in, to.fd, offset_out, size, (unsigned)flags);
	if (copied < 0)
		reply_err(req, (int)copied);
	else
		fuse_reply_write(req, (size_t)copied);
}

static int get_flags(struct hashfs *fs, struct node *n, unsigned *ret)
{
	auto_close int fd = node_open(fs, n, O_RDONLY | O_NONBLOCK);
	return fd < 0 ? fd : sys_flags_get(fd, ret);
}

static int get_fsxattr(struct hashfs *fs, struct node *n, struct fsxattr *ret)
{
	auto_close int fd = node_open(fs, n, O_RDONLY | O_NONBLOCK);
	return fd < 0 ? fd : sys_fsxattr_get(fd, ret);
}

union ioctl_data {
	unsigned flags;
	struct fsxattr fsxattr;
};

struct ioctl {
	unsigned cmd;
	size_t size;  // of the data it came with
	union ioctl_data data;
};

// Returns the size of the answer in @data, which begins as @in's, or an errno.
static int do_ioctl(fuse_req_t req, struct node *n, const struct ioctl *in, union ioctl_data *data)
{
	struct hashfs *fs = fs_of(req);
	size_t size = in->size;
	int r;

	switch (in->cmd) {
	case FS_IOC_GETFLAGS:
		r = get_flags(fs, n, &data->flags);
		return r < 0 ? r : (int)sizeof(data->flags);
	case FS_IOC_FSGETXATTR:
		r = get_fsxattr(fs, n, &data->fsxattr);
		return r < 0 ? r : (int)sizeof(data->fsxattr);
	case FS_IOC_SETFLAGS:
		return size < sizeof(data->flags) ? -EINVAL : attr_set_flags(fs, n, data->flags, req);
	case FS_IOC_FSSETXATTR:
		return size < sizeof(data->fsxattr) ? -EINVAL : attr_set_fsxattr(fs, n, &data->fsxattr, req);
	default:
		return -ENOTTY;
	}
}

static void serve_ioctl(fuse_req_t req, fuse_ino_t ino, const void *args)
{
	struct hashfs *fs = fs_of(req);
	const struct ioctl *in = args;
	union ioctl_data data = in->data;

	int r = do_ioctl(req, node_of(fs, ino), in, &data);
	if (r == 0)  // flags were set, which moves the ctime
		notify_attributes(fs, node_of(fs, ino));
	if (r == BREAK_TAKES_LONG)
		later_serve(req, ino, serve_ioctl, in, sizeof(*in), false);
	else if (r < 0)
		reply_err(req, r);
	else
		fuse_reply_ioctl(req, 0, &data, (size_t)r);
}

// The kernel opens the file and asks for these alone, after it has checked the caller's rights
// (fs/fuse/ioctl.c, fuse_fileattr_get and _set); other commands are refused.
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_size, size_t out_size)
{
	struct ioctl args = { .cmd = cmd, .size = in_size };

	(void)arg, (void)fi, (void)flags, (void)out_size;
	if (in_size > 0)
		memcpy(&args.data, in, in_size < sizeof(args.data) ? in_size : sizeof(args.data));
	serve_ioctl(req, ino, &args);
}
