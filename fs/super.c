#include "fs/super.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs/backing.h"
#include "fs/daemon.h"
#include "fs/fuse.h"
#include "fs/hashfs.h"
#include "fs/later.h"
#include "fs/node.h"
#include "fs/ops.h"
#include "fs/options.h"
#include "fs/source.h"
#include "fs/sync.h"
#include "store/base/cleanup.h"
#include "store/base/limit.h"
#include "store/base/log.h"
#include "store/base/sys.h"
#include "store/registry.h"

// What nobody else may change is right for ever.
#define FOR_EVER 1e9

#ifdef __SANITIZE_THREAD__
char fuse_order;
#endif

static const char uring_switch[] = "/sys/module/fuse/parameters/enable_uring";

struct mount {
	struct hashfs fs;
	const struct options *opt;
	struct source source;
	bool uring;   // the kernel is asked to speak io_uring
	bool failed;  // init found that the mount cannot be what was asked for
};

// The FUSE session

static void want(struct fuse_conn_info *conn, uint64_t capability)
{
	if (conn->capable_ext & capability)
		fuse_set_feature_flag(conn, capability);
}

static const char *why_no_passthrough(const struct mount *m, const struct fuse_conn_info *conn)
{
	if (m->opt->passthrough == CHOICE_NO)
		return "it was switched off";
	if (!m->fs.privileged)
		return "it needs root";
	if (!m->fs.handles)
		return "the filesystem has no file handles";
	if (m->fs.objects < 0)
		return "the pool's mount cannot be cloned read-only, which keeps shared files from being written to";
	if (!(conn->capable_ext & FUSE_CAP_PASSTHROUGH))
		return "the kernel has none (Linux 6.12 and CONFIG_FUSE_PASSTHROUGH)";
	if (!sys_kernel_is(6, 12))
		return "the kernel takes no O_PATH descriptors for it (Linux 6.12 does)";
	return NULL;
}

static void set_up_passthrough(struct mount *m, struct fuse_conn_info *conn)
{
	const char *missing = why_no_passthrough(m, conn);
	struct statfs st;

	if (missing && m->opt->passthrough == CHOICE_YES) {
		log_error("%s: no passthrough: %s; mount without passthrough=yes to share disk only",
			  m->opt->source, missing);
		m->failed = true;
		fuse_session_exit(m->fs.session);
		return;
	}
	if (missing) {
		log_warning("%s: disk is shared, memory is not: no passthrough: %s", m->opt->source, missing);
		return;
	}
	m->fs.passthrough = true;
	want(conn, FUSE_CAP_PASSTHROUGH);
	// 0 lets overlayfs be mounted on top of us; a pool that is on overlayfs itself takes the one level
	// there is.
	bool stacked = fstatfs(m->fs.pool, &st) == 0 && st.f_type == OVERLAYFS_SUPER_MAGIC;
	conn->max_backing_stack_depth = stacked ? 1 : 0;
	// Spares a GETXATTR for each write; set-uid is then ours to clear. Only what the kernel writes by
	// itself profits, and coherent mounts read and write links through us.
	if (!m->opt->coherent)
		want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct mount *m = list_item(userdata, struct mount, fs);

	fuse_unset_feature_flag(conn, FUSE_CAP_WRITEBACK_CACHE);  // excludes passthrough
	fuse_unset_feature_flag(conn, FUSE_CAP_HANDLE_KILLPRIV);
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	want(conn, FUSE_CAP_PARALLEL_DIROPS);
	want(conn, FUSE_CAP_CACHE_SYMLINKS);
	want(conn, FUSE_CAP_POSIX_ACL);
	want(conn, FUSE_CAP_DONT_MASK);
	want(conn, FUSE_CAP_EXPIRE_ONLY);
	want(conn, FUSE_CAP_NO_EXPORT_SUPPORT);
	set_up_passthrough(m, conn);
	if (!m->failed)
		daemon_ready();
}

static const struct fuse_lowlevel_ops operations = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	.statx = op_statx,
#endif
	.setattr = op_setattr,
	.readlink = op_readlink,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.link = op_link,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
	.create = op_create,
	.tmpfile = op_tmpfile,
	.open = op_open,
	.release = op_release,
	.read = op_read,
	.write = op_write,
	.fsync = op_fsync,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.ioctl = op_ioctl,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
};

void reply_err(fuse_req_t req, int r)
{
	fuse_reply_err(req, -r);
}

// What the backing mount forbids, ours forbids as well, whatever was asked for: mount.fuse3(8), and so fstab,
// always asks for suid and dev. The last of two options that exclude each other wins.
static int add_inherited(const struct mount *m, char **options)
{
	static const struct {
		unsigned long flag;
		const char *option;
	} forbidden[] = {
		{ ST_NOSUID, "nosuid" },
		{ ST_NODEV, "nodev" },
		{ ST_NOEXEC, "noexec" },
	};
	struct statvfs st;

	if (fstatvfs(m->fs.pool, &st) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++)
		if ((st.f_flag & forbidden[i].flag) && fuse_opt_add_opt(options, forbidden[i].option) != 0)
			return -ENOMEM;
	return 0;
}

static bool uring_allowed(void)
{
	char c = 0;
	auto_close int fd = open(uring_switch, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, &c, 1) == 1 && c == 'Y';
}

static bool use_uring(const struct options *opt)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	return opt->uring != CHOICE_NO && uring_allowed();
#else
	(void)opt;
	return false;
#endif
}

static int mount_arguments(const struct mount *m, struct fuse_args *args)
{
	char *options = NULL, *name = NULL;
	int r = -ENOMEM;

	if (asprintf(&name, "fsname=%s", m->opt->source) < 0)
		return r;
	if (fuse_opt_add_opt_escaped(&options, name) == 0 &&
	    fuse_opt_add_opt(&options, "subtype=hashfs,default_permissions") == 0 &&
	    (!m->fs.privileged || fuse_opt_add_opt(&options, "allow_other,suid,dev") == 0) &&
	    (!m->uring || fuse_opt_add_opt(&options, "io_uring") == 0) &&
	    (!*m->opt->mount || fuse_opt_add_opt(&options, m->opt->mount) == 0) &&
	    add_inherited(m, &options) == 0 && fuse_opt_add_arg(args, "hashfs") == 0 &&
	    fuse_opt_add_arg(args, "-o") == 0 && fuse_opt_add_arg(args, options) == 0 &&
	    (!m->opt->debug || fuse_opt_add_arg(args, "-d") == 0))
		r = 0;
	free(name);
	free(options);
	return r;
}

static int check_before_mount(const struct mount *m)
{
	// One hashfs over another would only hide it, and an unmount in a script take down the wrong one.
	if (registry_shows(m->opt->mountpoint)) {
		log_error(
			"%s: busy: a hashfs is mounted there, or what one that was killed has left; unmount it "
			"or choose another directory",
			m->opt->mountpoint);
		return -EBUSY;
	}
	if (m->opt->uring == CHOICE_YES && !m->uring) {
		log_error("no io_uring: it needs libfuse 3.18 (this is %s), Linux 6.14 and `echo Y > %s`",
			  fuse_pkgversion(), uring_switch);
		return -ENOTSUP;
	}
	if (access("/dev/fuse", F_OK) < 0) {
		log_error("/dev/fuse: %s; load the fuse module (`modprobe fuse`), or in a container, pass "
			  "the device in",
			  strerror(errno));
		return -ENODEV;
	}
	return 0;
}

static int serve(struct mount *m)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	if (!config)
		return -ENOMEM;

	fuse_loop_cfg_set_max_threads(config, m->opt->threads);
	fuse_loop_cfg_set_clone_fd(config, 0);
	// Each ring has a thread of its own on its CPU, where the caller runs as well.
	linger_init(&m->fs.linger, m->uring ? -1 : fuse_session_fd(m->fs.session));
	int r = later_start(&m->fs);
	if (r < 0)
		log_error("%s: cannot start threads: %s; trying again later may help", m->opt->source,
			  strerror(-r));
	else
		r = fuse_session_loop_mt(m->fs.session, config);
	later_stop(&m->fs);
	fuse_loop_cfg_destroy(config);
	if (m->failed)
		return -ENOTSUP;
	return r < 0 ? r : 0;  // > 0: the signal that ended it
}

// As its users will see it. Nobody answers yet, so nothing may be asked.
static dev_t shown_dev(const char *mountpoint)
{
	struct statx st;

	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &st) < 0)
		return 0;
	return makedev(st.stx_dev_major, st.stx_dev_minor);
}

static int mount_and_serve(struct mount *m)
{
	if (fuse_session_mount(m->fs.session, m->opt->mountpoint) < 0) {
		log_error("%s: cannot mount there: what fuse said is above; root may mount anywhere, others "
			  "only on directories "
			  "that are theirs",
			  m->opt->mountpoint);
		return -EPERM;
	}
	m->fs.shown_dev = shown_dev(m->opt->mountpoint);
	int r = serve(m);
	fuse_session_unmount(m->fs.session);
	return r;
}

static int run_session(struct mount *m)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	int r = mount_arguments(m, &args);
	if (r == 0) {
		m->fs.session = fuse_session_new(&args, &operations, sizeof(operations), &m->fs);
		r = m->fs.session ? 0 : -EINVAL;
	}
	fuse_opt_free_args(&args);
	if (r < 0)
		return r;

	if (fuse_set_signal_handlers(m->fs.session) == 0) {
		r = mount_and_serve(m);
		fuse_remove_signal_handlers(m->fs.session);
	} else {
		r = -EINVAL;
	}
	node_free_all(&m->fs);
	backings_free(&m->fs);
	fuse_session_destroy(m->fs.session);
	return r;
}

// Beginning and end

static void set_up(struct mount *m, const struct options *opt)
{
	struct hashfs *fs = &m->fs;

	m->opt = opt;
	m->uring = use_uring(opt);
	fs->opt = opt;
	fs->pool = -1;
	fs->objects = -1;
	fs->timeout = opt->cache < 0 ? FOR_EVER : opt->cache;
	mutex_init(&fs->table_lock);
	for (size_t i = 0; i < NODE_LOCKS; i++)
		mutex_init(&fs->node_locks[i]);
	for (size_t i = 0; i < TWIN_LOCKS; i++)
		mutex_init(&fs->twin_locks[i]);
	mutex_init(&fs->break_lock);
	cond_init(&fs->break_done);
	later_init(&fs->later);
	list_init(&fs->detached);
	stale_init(&fs->stale);
	backings_init(&fs->backings);
	dirs_init(&fs->dirs);
	streams_init(&fs->streams);
}

static void clean_up(struct mount *m)
{
	streams_destroy(&m->fs.streams);
	dirs_destroy(&m->fs.dirs);
	stale_destroy(&m->fs.stale);
	later_destroy(&m->fs.later);
	cond_destroy(&m->fs.break_done);
	mutex_destroy(&m->fs.break_lock);
	for (size_t i = 0; i < NODE_LOCKS; i++)
		mutex_destroy(&m->fs.node_locks[i]);
	for (size_t i = 0; i < TWIN_LOCKS; i++)
		mutex_destroy(&m->fs.twin_locks[i]);
	mutex_destroy(&m->fs.table_lock);
}

// Deleted files and directories being read need an fd each, and without passthrough open files. The kernel
// holds callers to their own limit on the size of files: ours would be one for all.
static void raise_limits(struct hashfs *fs)
{
	struct rlimit limit = { .rlim_cur = 1024 };

	limit_lift_file_size();
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	// An fd's number tells how many there are: the lowest free one is given out.
	int usable = limit.rlim_cur < 1 << 20 ? (int)limit.rlim_cur : 1 << 20;
	fs->most_pins = usable / 2;
	fs->most_files = usable / 4 * 3;
}

int super_run(const struct options *opt)
{
	struct mount m = { 0 };
	int r;

	set_up(&m, opt);
	raise_limits(&m.fs);
	r = check_before_mount(&m);
	if (r == 0) {
		r = source_open(&m.source, &m.fs);
		if (r == 0) {
			sync_published(&m.fs);  // perhaps, by a mount that was killed
			r = run_session(&m);
		}
		source_close(&m.source);
	}
	clean_up(&m);
	return r < 0 ? 1 : 0;
}
