#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/base/sys.h"
#include "store/marked.h"
#include "store/xattr.h"

#define FORMAT_MAX 1024

static const char format_text[] = "hashfs-store %d\n"
				  "digest xxh3-128\n"
				  "seed %016" PRIx64 "\n"
				  "identity mode,uid,gid,mtime,xattr\n"
				  "marks %s\n"
				  "inode %" PRIu64 "\n";

static const char *marks_word(enum mark_space marks)
{
	return marks == MARK_TRUSTED ? "trusted" : "user";
}

static int format_print(uint64_t seed, enum mark_space marks, uint64_t inode, char ret[FORMAT_MAX])
{
	return snprintf(ret, FORMAT_MAX, format_text, STORE_VERSION, seed, marks_word(marks), inode);
}

// Creating

// Finds out where marks can be kept, by keeping one.
static int probe_marks(int fd, enum mark_space *ret)
{
	if (xattr_set(fd, XATTR_MARK_TRUSTED, "", 0, 0) == 0) {
		*ret = MARK_TRUSTED;
		return xattr_remove(fd, XATTR_MARK_TRUSTED);
	}
	*ret = MARK_USER;
	int r = xattr_set(fd, XATTR_MARK_USER, "", 0, 0);
	return r < 0 ? r : xattr_remove(fd, XATTR_MARK_USER);
}

static int probe_links(int dir)
{
	if (linkat(dir, "format", dir, "probe", 0) < 0)
		return errno == EPERM ? -EOPNOTSUPP : -errno;
	int r = renameat2(dir, "format", dir, "probe", RENAME_EXCHANGE) < 0 ? -errno : 0;
	if (unlinkat(dir, "probe", 0) < 0)
		return -errno;
	return r == -EINVAL ? -EOPNOTSUPP : r;
}

// Private copies begin without a name.
static int probe_nameless(int dir)
{
	auto_close int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return 0;
	return errno == EISDIR ? -EOPNOTSUPP : -errno;
}

// The format file has a mark like an object's: where that is gone, the objects' are as well.
static int mark_format(int fd, enum mark_space marks)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? -errno : mark_write(marks, fd, &st, (struct digest){ 0 });
}

static int write_text(int fd, uint64_t seed, enum mark_space marks, uint64_t inode)
{
	char text[FORMAT_MAX];
	int size = format_print(seed, marks, inode, text);

	int r = fd_pwrite_all(fd, text, (size_t)size, 0);
	if (r == 0)
		r = mark_format(fd, marks);
	if (r < 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

static int write_format(int dir)
{
	enum mark_space marks;
	struct stat st;
	uint64_t seed;

	auto_close int fd = openat(dir, "format", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(dir, &st) < 0)
		return -errno;
	int r = probe_marks(fd, &marks);
	if (r < 0)
		return r;
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	r = write_text(fd, seed, marks, st.st_ino);
	if (r == 0)
		r = probe_nameless(dir);
	return r < 0 ? r : probe_links(dir);
}

static int rewrite_format(struct store *s)
{
	static const char attempt[] = "format.new";

	// What has that name may be linked to something else: it is never written to.
	if (unlinkat(s->dir, attempt, 0) < 0 && errno != ENOENT)
		return -errno;
	auto_close int fd = openat(s->dir, attempt, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = write_text(fd, s->seed, s->marks, s->ino);
	if (r < 0)
		return r;
	// After a power cut a file that says that the marks are true must not be there without them.
	if (syncfs(s->dir) < 0)
		return -errno;
	if (renameat(s->dir, attempt, s->dir, "format") < 0)
		return -errno;
	s->copied = false;
	return fsync(s->dir) < 0 ? -errno : 0;
}

int store_renew(struct store *s)
{
	uint64_t renewed;

	int r = marked_renew_all(s, &renewed);
	return r < 0 ? r : rewrite_format(s);
}

static const char *const directories[] = { "objects", "tmp", "mounts" };

// A pool's default ACL would be inherited by everything that is made here, private copies included.
static int drop_default_acl(int dir)
{
	int r = xattr_remove(dir, "system.posix_acl_default");
	return r == -ENODATA || r == -EOPNOTSUPP ? 0 : r;
}

static const char *const lock_files[] = { "lock", "pass" };

static int make_lock_files(int dir)
{
	for (size_t i = 0; i < sizeof(lock_files) / sizeof(*lock_files); i++) {
		auto_close int fd = openat(dir, lock_files[i], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
	}
	return 0;
}

static int fill(int dir)
{
	int r = drop_default_acl(dir);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		if (mkdirat(dir, directories[i], 0700) < 0)
			return -errno;
	r = make_lock_files(dir);
	if (r == 0)
		r = write_format(dir);
	if (r < 0)
		return r;
	return fsync(dir) < 0 ? -errno : 0;
}

#define ATTEMPT STORE_DIR ".new-"
#define ATTEMPT_DIGITS 16

// Removes what an attempt has left.
static void remove_attempt(int pool, const char *name)
{
	auto_close int dir = openat(pool, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return;
	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++)
		unlinkat(dir, directories[i], AT_REMOVEDIR);
	for (size_t i = 0; i < sizeof(lock_files) / sizeof(*lock_files); i++)
		unlinkat(dir, lock_files[i], 0);
	unlinkat(dir, "format", 0);
	unlinkat(dir, "probe", 0);
	unlinkat(pool, name, AT_REMOVEDIR);
}

// What crashes have left. An attempt of somebody else may be among it: it has failed already, as there is a
// store now.
static int remove_if_attempt(int pool, const struct dirent64 *e, void *arg)
{
	(void)arg;
	const char *number = e->d_name + sizeof(ATTEMPT) - 1;
	if (strncmp(e->d_name, ATTEMPT, sizeof(ATTEMPT) - 1) == 0 &&
	    strspn(number, "0123456789abcdef") == ATTEMPT_DIGITS && number[ATTEMPT_DIGITS] == '\0')
		remove_attempt(pool, e->d_name);
	return 0;
}

static int make(int pool, const char *attempt)
{
	if (mkdirat(pool, attempt, 0700) < 0)
		return -errno;
	auto_close int dir = openat(pool, attempt, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	int r = fill(dir);
	if (r < 0)
		return r;
	return renameat2(pool, attempt, pool, STORE_DIR, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

int store_create(int pool)
{
	char attempt[sizeof(ATTEMPT) + ATTEMPT_DIGITS];
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -EIO;
	snprintf(attempt, sizeof(attempt), ATTEMPT "%016" PRIx64, number);
	int r = make(pool, attempt);
	if (r == 0) {
		dir_each(pool, ".", remove_if_attempt, NULL);
		return fsync(pool) < 0 ? -errno : 0;
	}
	remove_attempt(pool, attempt);
	// Whoever was faster may have removed our attempt while we were at it.
	return faccessat(pool, STORE_DIR, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? -EEXIST : r;
}

// Opening

// Only what we would write ourselves: whatever else there may be changes what objects mean.
static int parse_format(const char *text, struct store *s)
{
	char again[FORMAT_MAX], marks[8];
	uint64_t inode;
	int version;

	if (sscanf(text, "hashfs-store %d\n", &version) != 1)
		return -EBADMSG;
	if (version != STORE_VERSION)
		return -EPROTONOSUPPORT;
	if (sscanf(text,
		   "hashfs-store %*d digest xxh3-128 seed %16" SCNx64
		   " identity mode,uid,gid,mtime,xattr marks %7s inode %" SCNu64,
		   &s->seed, marks, &inode) != 3)
		return -EPROTONOSUPPORT;
	s->marks = strcmp(marks, "user") == 0 ? MARK_USER : MARK_TRUSTED;
	s->copied = inode != s->ino;
	format_print(s->seed, s->marks, inode, again);
	return strcmp(text, again) == 0 ? 0 : -EBADMSG;
}

// What copied the store without its xattrs may have given `.hash` the number it had, or have put all files
// into a `.hash` that was still there. -ENODATA: so it is.
static int read_format_mark(const struct store *s, int fd)
{
	struct digest digest;
	struct stat st;

	return fstat(fd, &st) < 0 ? -errno : mark_read(s->marks, fd, &st, &digest);
}

static int read_format(struct store *s)
{
	char text[FORMAT_MAX + 1];
	auto_close int fd = beneath_open_file(s->dir, "format");

	if (fd < 0)
		return fd == -ENOENT || fd == -ENXIO ? -EBADMSG : fd;
	ssize_t size = fd_pread_all(fd, text, FORMAT_MAX, 0);
	if (size < 0)
		return (int)size;
	text[size] = '\0';
	if (strlen(text) != (size_t)size)
		return -EBADMSG;
	int r = parse_format(text, s);
	if (r == 0)
		r = read_format_mark(s, fd);
	s->copied = s->copied || r == -ENODATA;
	return r == -ENODATA ? 0 : r;
}

static int open_directory(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool is_wrong_kind(int r)
{
	return r == -ENOTDIR || r == -ELOOP;
}

// A store is made whole: where a part is missing, somebody has taken it away.
static int open_part(struct store *s, const char *name)
{
	int fd = open_directory(s->dir, name);
	return fd == -ENOENT || is_wrong_kind(fd) ? -EBADMSG : fd;
}

static int open_parts(struct store *s, int pool)
{
	struct stat st;

	s->dir = open_directory(pool, STORE_DIR);
	if (s->dir < 0)
		return is_wrong_kind(s->dir) ? -EBADMSG : s->dir;
	if (fstat(s->dir, &st) < 0)
		return -errno;
	if (st.st_mode & 0077)  // a store others may write to proves nothing
		return -EBADMSG;
	if (st.st_uid != 0 && st.st_uid != sys_fsuid())
		return -EPERM;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	int r = read_format(s);
	if (r < 0)
		return r;
	s->tmp = open_part(s, "tmp");
	if (s->tmp < 0)
		return s->tmp;
	s->objects = open_part(s, "objects");
	if (s->objects < 0)
		return s->objects;
	uint64_t generation;
	struct statfs fs;
	s->is_btrfs = sys_btrfs_generation(s->tmp, &generation) == 0;
	// XFS logs the inode that is renamed (xfs_rename()), btrfs the names of what it logs. ext4 looks for
	// changes of size and blocks alone (i_datasync_tid, ext4_fsync_journal()).
	s->is_xfs = fstatfs(s->tmp, &fs) == 0 && fs.f_type == XFS_SUPER_MAGIC;
	s->datasync_names = s->is_btrfs || s->is_xfs;
	return 0;
}

int store_open(int pool, struct store **ret)
{
	struct store *s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;

	*s = (struct store){ .dir = -1, .tmp = -1, .objects = -1, .lock = -1, .pass = -1 };
	int r = open_parts(s, pool);
	if (r < 0)
		store_close(s);
	else
		*ret = s;
	return r;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	cleanup_close(&s->lock);
	cleanup_close(&s->pass);
	cleanup_close(&s->objects);
	cleanup_close(&s->tmp);
	cleanup_close(&s->dir);
	free(s);
}

int store_lock(struct store *s, enum store_lock_mode mode)
{
	auto_close int fd = s->lock >= 0 ? take_fd(&s->lock) : beneath_open_file(s->dir, "lock");
	if (fd < 0)
		return fd;
	if (flock(fd, (mode == STORE_SHARED ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		return -errno;
	s->lock = take_fd(&fd);
	return 0;
}

int store_lock_pass(struct store *s)
{
	auto_close int fd = beneath_open_file(s->dir, "pass");
	if (fd == -ENOENT) {  // a store of before there was this file gets it now
		int made = openat(s->dir, "pass", O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (made >= 0)
			fd_close(made);
		fd = beneath_open_file(s->dir, "pass");
	}
	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	s->pass = take_fd(&fd);
	return 0;
}

void store_unlock_pass(struct store *s)
{
	cleanup_close(&s->pass);
}
