#include "fs/opens.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/attr.h"
#include "fs/backing.h"
#include "fs/break.h"
#include "fs/file.h"
#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/options.h"
#include "fs/sync.h"
#include "fs/twin.h"
#include "store/base/cleanup.h"

static _Thread_local bool may_wait;

void opens_may_wait(bool may)
{
	may_wait = may;
}

static bool writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

// As the kernel says it of an execve(2), in OPEN and RELEASE alike (__FMODE_EXEC in its include/linux/fs.h).
#define RUNS 040

static bool changes(int flags)
{
	return writes(flags) || (flags & O_TRUNC);
}

// How a node is opened that is not open yet. @fd may be its file, or -1.
static void choose_mode(struct hashfs *fs, struct node *n, int fd, bool direct)
{
	n->mode = IO_CACHED;
	if (!fs->passthrough || direct || (n->link && fs->opt->coherent))
		return;
	// A file that cannot be registered is served all the same, only its memory is not shared.
	if (backing_get(fs, &n->at, fd, n->link, &n->backing) == 0)
		n->mode = IO_PASSTHROUGH;
}

// *@spare, if not NULL, is taken: it is there for an open that must not fail any more.
static int add_file(struct hashfs *fs, struct node *n, int *fd, struct file **spare, struct file **ret)
{
	if (!*spare && *fd >= fs->most_files)
		return -ENFILE;
	struct file *f = *spare ? *spare : malloc(sizeof(*f));
	if (!f)
		return -ENOMEM;

	*spare = NULL;
	f->fd = take_fd(fd);
	list_init(&f->item);
	list_add_tail(&n->files, &f->item);
	*ret = f;
	return 0;
}

// O_APPEND and O_DIRECT concern the kernel's side: what it sends has offsets and comes from its cache.
static int backing_flags(int flags)
{
	return writes(flags) ? O_RDWR : O_RDONLY;
}

// The kernel opens the backing file by a path, without asking whether it is immutable or append-only.
static int check_writable(const struct hashfs *fs, const struct node *n, int flags)
{
	if (!fs->passthrough || !writes(flags))
		return 0;  // or we open it ourselves
	int fd = handle_open(fs, &n->at, (flags & (O_ACCMODE | O_APPEND)) | O_NONBLOCK);
	if (fd == -EAGAIN)
		return 0;  // somebody holds a lease: the kernel waits for him, or not, as the caller wants it
	if (fd < 0)
		return fd;
	fd_close(fd);
	return 0;
}

// Without passthrough. An append-only file can be opened in one way alone.
static int open_to_serve(const struct hashfs *fs, const struct node *n, int flags)
{
	if (n->link)
		return handle_open_unnoticed(fs, &n->at);
	int fd = handle_open(fs, &n->at, backing_flags(flags));
	if (fd == -EPERM && (flags & O_APPEND))
		fd = handle_open(fs, &n->at, backing_flags(flags) | O_APPEND);
	if (fd == -EACCES && (flags & O_ACCMODE) == O_WRONLY)  // its mode is so
		fd = handle_open(fs, &n->at, O_WRONLY);
	return fd;
}

// The kernel's side knows nothing of append-only files: it would let a shared mapping change what is there,
// and O_APPEND be taken off. So what is written to them comes to us, and they are not mapped for writing.
static bool is_append_only(const struct hashfs *fs, const struct node *n)
{
	struct statx st;
	auto_close int fd = handle_open(fs, &n->at, O_PATH);
	return fd >= 0 && statx(fd, "", AT_EMPTY_PATH, 0, &st) == 0 &&
	       (st.stx_attributes & STATX_ATTR_APPEND);
}

static int serve(struct hashfs *fs, struct node *n, int flags, int *fd, struct file **spare,
		 struct file **ret)
{
	if (*fd < 0)
		*fd = open_to_serve(fs, n, flags);
	return *fd < 0 ? *fd : add_file(fs, n, fd, spare, ret);
}

// The last open is over.
static void become_idle(struct hashfs *fs, struct node *n)
{
	n->emptied = n->diverged = false;
	if (!n->backing)
		return;
	// Without a name nobody opens it again, and an idle id would keep its space.
	if (fs->handles && n->at.fd >= 0)
		backing_deleted(fs, &n->at);
	backing_put(fs, n->backing);
	n->backing = NULL;
}

// Under the node's lock. *@fd may be the file already, opened as asked, or -1.
static int count_open(struct hashfs *fs, struct node *n, int flags, int *fd, struct file **spare,
		      struct opened *ret)
{
	int r = 0;

	*ret = (struct opened){ .direct = writes(flags) && (flags & O_APPEND) && is_append_only(fs, n) };
	if (n->opens == 0)
		choose_mode(fs, n, *fd, ret->direct);
	if (n->mode == IO_PASSTHROUGH)
		ret->backing_id = n->backing->id;
	if (ret->backing_id > 0 && ret->direct && (flags & O_ACCMODE) == O_RDWR)
		r = -EBUSY;  // it could be mapped
	else if (ret->backing_id == 0 || ret->direct)
		r = serve(fs, n, flags, fd, spare, &ret->file);
	if (r == 0) {
		n->opens++;
		n->writers += writes(flags);
		if (writes(flags))
			twin_count_writer(fs, n, 1);
		n->runners += (flags & RUNS) != 0;
	} else if (n->opens == 0) {
		become_idle(fs, n);
	}
	return r;
}

// What an open that may break a link did before it.
struct prepared {
	bool reserved;      // an open is counted already
	int broken;         // enum broken
	int copy;           // owned: the new private copy, or -1
	struct file *file;  // owned: if it is reserved, for the copy to be served
};

#define TWIN_CAME (-4096)

// @p->copy and @p->file are taken where they serve the open. TWIN_CAME: twin_hold() is needed for it.
static int open_and_count(struct hashfs *fs, struct node *n, int flags, pid_t tid, bool twin_held,
			  struct prepared *p, struct opened *ret)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));

	if (n->shadowed && writes(flags) && !twin_held)
		return TWIN_CAME;
	if (p->reserved)
		n->opens--;
	if (node_is_split(n)) {
		// The kernel opens a descriptor's file for an ioctl without any flag, and does not try again
		// (fs/fuse/ioctl.c).
		if (flags == 0 || stale_tell(&fs->stale, tid, n->ino))
			return -ESTALE;
		if (changes(flags))
			return -EBUSY;
	}
	int r = p->broken == WAS_PRIVATE ? check_writable(fs, n, flags) : 0;
	if (r < 0)
		return r;
	return count_open(fs, n, flags, &p->copy, &p->file, ret);
}

// The kernel leaves O_TRUNC to us (FUSE_ATOMIC_O_TRUNC). A link that was broken for it is empty already, but
// its times are the object's.
static int truncate_fd(int fd, bool shortened, fuse_req_t req)
{
	int r = attr_kill_privileges(fd, req);
	if (r < 0)
		return r;
	if (ftruncate(fd, 0) < 0)
		return -errno;
	return shortened ? attr_touch(fd) : 0;
}

static int truncate_opened(struct hashfs *fs, struct node *n, const struct prepared *p,
			   const struct opened *opened, fuse_req_t req)
{
	if (p->broken != WAS_PRIVATE)
		return truncate_fd(opened->file ? opened->file->fd : p->copy, p->broken == BROKEN_SHORTENED,
				   req);
	auto_close int fd = node_open(fs, n, O_WRONLY);
	return fd < 0 ? fd : truncate_fd(fd, false, req);
}

// An O_TRUNC that fails must not have emptied the file, so a link gets a copy without content only if the
// node cannot be split: nobody has it open in passthrough, and who opens it during the break is served by the
// daemon, because an open of that kind is counted here. The caller ends it. False: the copy must be whole,
// since this may be an open through a descriptor, which ends with EBUSY.
static bool reserve(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));

	if (!n->link || (n->opens > 0 && n->mode == IO_PASSTHROUGH))
		return false;
	n->mode = IO_CACHED;
	n->opens++;
	return true;
}

static int prepare(struct hashfs *fs, struct node *n, int flags, struct prepared *ret)
{
	if (!changes(flags))
		return 0;
	if (flags & O_TRUNC) {
		ret->file = malloc(sizeof(*ret->file));
		if (!ret->file)
			return -ENOMEM;
		ret->reserved = reserve(fs, n);
	}
	if (!ret->reserved) {
		free(ret->file);
		ret->file = NULL;
	}
	ret->broken = break_link_open(fs, n, ret->reserved ? 0 : BREAK_KEEP_ALL, &ret->copy);
	if (ret->broken < 0 && ret->reserved)
		opens_end(fs, n, O_RDONLY, NULL);
	return ret->broken < 0 ? ret->broken : 0;
}

static void note_emptied(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	n->emptied = true;
}

// In passthrough the guest can make durable what it writes without a word to us (O_DSYNC, RWF_DSYNC,
// msync(2)). Where the file is made empty, writing changes its size, and brings the name along.
static int settle_name(struct hashfs *fs, int flags, const struct opened *opened)
{
	if (!writes(flags) || opened->backing_id == 0 || fs->opt->is_volatile)
		return 0;
	return sync_names(fs);
}

// Rights that were given by the other node since the kernel asked for the mode by this one, it would leave at
// a write. It asks once more when it looks the name up again. -ESTALE.
static int check_no_rights(struct hashfs *fs, struct node *n, fuse_req_t req)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	auto_close int fd = node_open(fs, n, O_PATH);

	if (fd < 0)
		return fd;
	bool is_news = caller->uid != 0 && attr_has_rights(fd) && stale_tell(&fs->stale, caller->pid, n->ino);
	return is_news ? -ESTALE : 0;
}

static int open_either(struct hashfs *fs, struct node *n, int flags, fuse_req_t req, struct prepared *p,
		       struct opened *ret)
{
	pid_t tid = fuse_req_ctx(req)->pid;
	int r;

	do {
		auto_unlock pthread_mutex_t *held = writes(flags) ? twin_hold(fs, n) : NULL;
		r = open_and_count(fs, n, flags, tid, held, p, ret);
		if (r < 0 || !held)
			continue;
		r = check_no_rights(fs, n, req);
		if (r < 0)
			opens_end(fs, n, flags, ret->file);
	} while (r == TWIN_CAME);
	return r;
}

static int begin_prepared(struct hashfs *fs, struct node *n, int flags, fuse_req_t req, struct prepared *p,
			  struct opened *ret)
{
	int r = open_either(fs, n, flags, req, p, ret);
	if (r < 0)
		return r;
	stale_settled(&fs->stale, fuse_req_ctx(req)->pid);
	r = flags & O_TRUNC ? truncate_opened(fs, n, p, ret, req) : settle_name(fs, flags, ret);
	if (r < 0)
		opens_end(fs, n, flags, ret->file);
	else if (flags & O_TRUNC)
		note_emptied(fs, n);
	return r;
}

// Who writes to a file, or reads it directly, holds its lock until the memory he does it from or to is there:
// for as long as he likes (userfaultfd, a mapping of a FUSE file of his own).
static bool truncation_may_wait(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	return !n->link && n->opens > 0;
}

// The kernel refuses to truncate what is being run: before it asks us to open it for writing, but after an
// open for reading. (For a moment after its end it counts as being run: RELEASE comes late.)
static bool is_run(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	return n->runners > 0;
}

int opens_begin(struct hashfs *fs, struct node *n, int flags, fuse_req_t req, struct opened *ret)
{
	struct prepared p = { .broken = WAS_PRIVATE, .copy = -1 };

	if ((flags & O_TRUNC) && !writes(flags) && is_run(fs, n))
		return -ETXTBSY;
	if ((flags & O_TRUNC) && !may_wait && truncation_may_wait(fs, n))
		return OPENS_MAY_WAIT;
	int r = prepare(fs, n, flags, &p);
	if (r == 0)
		r = begin_prepared(fs, n, flags, req, &p, ret);
	cleanup_close(&p.copy);
	free(p.file);
	return r;
}

int opens_begin_new(struct hashfs *fs, struct node *n, int flags, int *fd, struct opened *ret)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	struct file *none = NULL;
	return count_open(fs, n, flags & O_ACCMODE, fd, &none, ret);
}

bool opens_for_writing(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	return n->writers > 0;
}

bool opens_emptied(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));
	return n->emptied;
}

void opens_end(struct hashfs *fs, struct node *n, int flags, struct file *file)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(node_lock(fs, n));

	if (file) {
		list_remove(&file->item);
		fd_close(file->fd);
		free(file);
	}
	n->writers -= writes(flags);
	if (writes(flags))
		twin_count_writer(fs, n, -1);
	n->runners -= (flags & RUNS) != 0;
	if (--n->opens == 0)
		become_idle(fs, n);
}
