#include "fs/break.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/dirs.h"
#include "fs/hashfs.h"
#include "fs/idmap.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/options.h"
#include "fs/sync.h"
#include "store/base/cleanup.h"
#include "store/base/sys.h"
#include "store/copy.h"
#include "store/meta.h"
#include "store/store.h"
#include "store/tmp.h"

// Copying as much takes about as long as flushing it.
#define MOST_AT_ONCE (1 << 20)

static _Thread_local bool is_patient;

void break_be_patient(bool patient)
{
	is_patient = patient;
}

bool break_is_patient(void)
{
	return is_patient;
}

static int begin(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->break_lock);

	while (n->breaking) {
		if (!is_patient)
			return BREAK_TAKES_LONG;
		cond_wait(&fs->break_done, &fs->break_lock);
	}
	n->breaking = true;
	return 0;
}

static void end(struct hashfs *fs, struct node *n)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->break_lock);

	n->breaking = false;
	cond_broadcast(&fs->break_done);
}

// A copy would belong to nobody for good. The kernel refuses to write to such a file, too.
static bool has_no_id(int object)
{
	struct stat st;
	return fstat(object, &st) < 0 || st.st_uid == IDMAP_NONE || st.st_gid == IDMAP_NONE;
}

static bool takes_long(int object, uint64_t keep)
{
	struct stat st;
	return keep > MOST_AT_ONCE && fstat(object, &st) == 0 && st.st_size > MOST_AT_ONCE;
}

// The private copy on its way.
struct copy {
	int fd;                   // owned
	char tmp[TMP_NAME_SIZE];  // "": it has no name
	struct stat object;       // of what it is a copy of
};

// A crash leaves, after   1 copy into a nameless file      nothing
//                         2 flush it                       nothing
//                         3 link it into tmp/              a name that recovery removes
//                         4 rename it over the guest's     the whole new file
// On btrfs 3 comes before 2. With -o volatile there is no 2, and 4 is an exchange and a removal: a file that
// may be empty, and in tmp/ a name of the object, which recovery removes.
static int copy_object(struct hashfs *fs, struct node *n, uint64_t keep, struct copy *ret)
{
	auto_close int object = node_open(fs, n, O_RDONLY | O_NOATIME);

	if (object < 0)
		return object;
	if (!is_patient && takes_long(object, keep))
		return BREAK_TAKES_LONG;
	if (fs->opt->idmap && has_no_id(object))
		return -EOVERFLOW;
	ret->fd = copy_private(fs->store, object, keep, !fs->opt->is_volatile, &ret->object);
	return ret->fd < 0 ? ret->fd : 0;
}

static int name_copy(struct hashfs *fs, struct copy *c)
{
	int r = tmp_link(fs->store, c->fd, c->tmp);
	if (r < 0)
		*c->tmp = '\0';
	return r;
}

// Where it must have a name for that: the flush would hold the lock of the directory's names otherwise.
static int flush_named(struct hashfs *fs, struct copy *c)
{
	if (!fs->store->is_btrfs || fs->opt->is_volatile)
		return 0;
	int r = name_copy(fs, c);
	return r < 0 ? r : copy_flush_named(fs->store, c->fd);
}

static int handle_of_copy(struct hashfs *fs, int copy, struct handle *ret)
{
	struct stat st;
	auto_close int path = open(fd_path(copy).text, O_PATH | O_CLOEXEC);

	if (path < 0 || fstat(path, &st) < 0)
		return -errno;
	return handle_make(fs, &path, &st, ret);
}

// Where a file is renamed over another, ext4 writes all of it before (auto_da_alloc). Who has waived that
// gets an exchange, which leaves the link in tmp/; a project's quota may forbid it there, and on btrfs it
// would need to be logged (exchange.h).
static int rename_over(struct hashfs *fs, const char *tmp, int dir, const char *name)
{
	int from = fs->store->tmp;

	if (fs->opt->is_volatile && !fs->store->is_btrfs &&
	    renameat2(from, tmp, dir, name, RENAME_EXCHANGE) == 0) {
		tmp_remove(fs->store, tmp);  // what stays there, recovery removes
		return 0;
	}
	return renameat(from, tmp, dir, name) < 0 ? -errno : 0;
}

// Puts the copy in the place of @name. The directory's times stay: writing to a file does not change them
// natively.
static int put_in_place(struct hashfs *fs, int dir, const char *name, struct copy *c)
{
	struct stat now, dir_st;

	if (fstatat(dir, name, &now, AT_SYMLINK_NOFOLLOW) < 0 || fstat(dir, &dir_st) < 0)
		return -errno;
	if (now.st_ino != c->object.st_ino || now.st_dev != c->object.st_dev)
		return -ESTALE;  // changed behind the mount's back

	int r = *c->tmp ? 0 : name_copy(fs, c);
	if (r < 0)
		return r;
	r = rename_over(fs, c->tmp, dir, name);
	if (r == -EXDEV && meta_join_project(c->fd, dir) == 0)
		r = rename_over(fs, c->tmp, dir, name);
	if (r < 0)
		return r;
	*c->tmp = '\0';
	sync_published(fs);
	const struct timespec times[2] = { dir_st.st_atim, dir_st.st_mtim };
	sys_utimens(dir, times);
	return 0;
}

// Under the lock of the directory's names. -EAGAIN: the name has moved to another directory meanwhile.
static int publish_in(struct hashfs *fs, struct node *n, struct node *parent, struct copy *c,
		      struct handle *at)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(parent->names);
	char name[256];

	if (!node_name_in(fs, n, parent, name))
		return -EAGAIN;

	auto_dir struct open_dir dir = dirs_open(fs, parent);
	if (dir.fd < 0)
		return dir.fd;
	node_publishing(fs, parent, true);
	int r = put_in_place(fs, dir.fd, name, c);
	if (r < 0) {
		node_publishing(fs, parent, false);
		return r;
	}
	node_become_private(fs, n, at, c->fd);
	// Who looked at the directory between the change of its times and their putting back saw the wrong
	// ones.
	notify_attributes(fs, parent);
	return 0;
}

// A link whose name is gone is still open somewhere: its private copy has no name either, and lives while the
// node does.
static int publish_nameless(struct hashfs *fs, struct node *n, int copy, struct handle *at)
{
	auto_close int path = open(fd_path(copy).text, O_PATH | O_CLOEXEC);
	if (path < 0)
		return -errno;
	if (path >= fs->most_files)
		return -ENFILE;

	handle_pin(at, take_fd(&path));
	node_become_private(fs, n, at, copy);
	return 0;
}

static int publish(struct hashfs *fs, struct node *n, struct copy *c)
{
	struct handle at = HANDLE_NONE;
	int r = handle_of_copy(fs, c->fd, &at);

	if (r < 0)
		return r;
	do {
		struct node *parent = node_parent(fs, n);
		if (!parent) {
			r = publish_nameless(fs, n, c->fd, &at);
			break;
		}
		r = publish_in(fs, n, parent, c, &at);
		node_put(fs, parent, 1);
	} while (r == -EAGAIN);
	handle_close(&at);
	return r;
}

static int break_now(struct hashfs *fs, struct node *n, uint64_t keep, int *ret_copy)
{
	struct copy c = { .fd = -1 };

	int r = copy_object(fs, n, keep, &c);
	if (r == 0)
		r = flush_named(fs, &c);
	if (r == 0)
		r = publish(fs, n, &c);
	if (*c.tmp)
		tmp_remove(fs->store, c.tmp);
	if (r == 0) {
		r = keep < (uint64_t)c.object.st_size ? BROKEN_SHORTENED : BROKEN;
		*ret_copy = take_fd(&c.fd);
	}
	cleanup_close(&c.fd);
	return r;
}

int break_link(struct hashfs *fs, struct node *n, uint64_t keep)
{
	auto_close int copy = -1;
	return break_link_open(fs, n, keep, &copy);
}

int break_link_open(struct hashfs *fs, struct node *n, uint64_t keep, int *ret_copy)
{
	if (!S_ISREG(n->type) || !node_is_link(fs, n))
		return WAS_PRIVATE;

	int r = begin(fs, n);
	if (r < 0)
		return r;
	r = node_is_link(fs, n) ? break_now(fs, n, keep, ret_copy) : WAS_PRIVATE;
	end(fs, n);
	return r;
}
