// A FUSE filesystem that only answers: what the messages alone cost a filesystem that lets the kernel check
// permissions and serve files by passthrough. All there is are names in memory; every file is one file of 4 KiB.
//
//	null [-o io_uring] MOUNTPOINT
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODES ((size_t)1 << 20)
#define BUCKETS ((size_t)1 << 16)
#define FOR_EVER 1e9

struct node {
	uint32_t next;  // in its bucket
	fuse_ino_t parent;
	mode_t mode;
	char name[64];
};

static struct node nodes[NODES];  // by nodeid; 1 is the root
static uint32_t buckets[BUCKETS];
static fuse_ino_t last = FUSE_ROOT_ID;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fuse_session *session;
static int backing, backing_id;

static uint32_t *bucket(fuse_ino_t parent, const char *name)
{
	uint64_t h = parent;
	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3;
	return &buckets[(h >> 20) % BUCKETS];
}

// Where the name is linked: 0 there if it is none.
static uint32_t *find(fuse_ino_t parent, const char *name)
{
	uint32_t *at = bucket(parent, name);
	while (*at && (nodes[*at].parent != parent || strcmp(nodes[*at].name, name) != 0))
		at = &nodes[*at].next;
	return at;
}

static void take_out(fuse_ino_t parent, const char *name)
{
	uint32_t *at = find(parent, name);
	if (*at)
		*at = nodes[*at].next;
}

static void put_in(fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	if (strlen(name) >= sizeof(nodes->name))
		errx(1, "%s: names shorter than %zu only", name, sizeof(nodes->name));
	uint32_t *at = bucket(parent, name);
	nodes[ino].parent = parent;
	strcpy(nodes[ino].name, name);
	nodes[ino].next = *at;
	*at = (uint32_t)ino;
}

static struct stat status(fuse_ino_t ino)
{
	mode_t mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : nodes[ino].mode;
	return (struct stat){ .st_ino = ino,
			      .st_mode = mode,
			      .st_nlink = 1,
			      .st_size = S_ISREG(mode) ? 4096 : 0,
			      .st_blksize = 4096 };
}

static struct fuse_entry_param entry(fuse_ino_t ino)
{
	return (struct fuse_entry_param){
		.ino = ino, .attr = status(ino), .attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER
	};
}

// The kernel takes files from who serves, once it has agreed to passthrough: not before the first request.
static void pass_through(fuse_req_t req, struct fuse_file_info *fi)
{
	pthread_mutex_lock(&lock);
	if (backing_id == 0)
		backing_id = fuse_passthrough_open(req, backing);
	pthread_mutex_unlock(&lock);
	if (backing_id <= 0)
		errx(1, "no passthrough");
	fi->backing_id = backing_id;
	fi->noflush = 1;
}

static struct fuse_entry_param make(fuse_ino_t parent, const char *name, mode_t mode)
{
	pthread_mutex_lock(&lock);
	if (++last == NODES)
		errx(1, "no more than %zu files", NODES);
	nodes[last].mode = mode;
	put_in(last, parent, name);
	struct fuse_entry_param e = entry(last);
	pthread_mutex_unlock(&lock);
	return e;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want_ext &= ~(uint64_t)FUSE_CAP_WRITEBACK_CACHE;
	fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH);
	fuse_set_feature_flag(conn, FUSE_CAP_PARALLEL_DIROPS);
	fuse_set_feature_flag(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
	conn->max_backing_stack_depth = 0;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	pthread_mutex_lock(&lock);
	uint32_t ino = *find(parent, name);
	struct fuse_entry_param e = ino ? entry(ino) : (struct fuse_entry_param){ .entry_timeout = FOR_EVER };
	pthread_mutex_unlock(&lock);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	struct stat st = status(ino);
	fuse_reply_attr(req, &st, FOR_EVER);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *to, int set, struct fuse_file_info *fi)
{
	(void)to;
	(void)set;
	op_getattr(req, ino, fi);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_entry_param e = make(parent, name, S_IFDIR | mode);
	fuse_reply_entry(req, &e);
}

static void op_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	pthread_mutex_lock(&lock);
	take_out(parent, name);
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, 0);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned flags)
{
	(void)flags;
	pthread_mutex_lock(&lock);
	uint32_t ino = *find(parent, name);
	if (ino) {
		take_out(parent, name);
		take_out(new_parent, new_name);
		put_in(ino, new_parent, new_name);
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_err(req, ino ? 0 : ENOENT);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fuse_entry_param e = make(parent, name, S_IFREG | mode);
	pass_through(req, fi);
	fuse_reply_create(req, &e, fi);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	pass_through(req, fi);
	fuse_reply_open(req, fi);
}

// To answer that there are none at all would spare the kernel from asking ever again.
static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	(void)ino;
	(void)name;
	(void)size;
	fuse_reply_err(req, ENODATA);
}

static const struct fuse_lowlevel_ops operations = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.getxattr = op_getxattr,
	.mkdir = op_mkdir,
	.unlink = op_remove,
	.rmdir = op_remove,
	.rename = op_rename,
	.create = op_create,
	.open = op_open,
};

static int serve(const char *mountpoint)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	if (!config || fuse_set_signal_handlers(session) < 0 || fuse_session_mount(session, mountpoint) < 0)
		errx(1, "%s: cannot mount there", mountpoint);
	fuse_loop_cfg_set_clone_fd(config, 0);
	int r = fuse_session_loop_mt(session, config);
	fuse_session_unmount(session);
	fuse_loop_cfg_destroy(config);
	return r != 0;
}

int main(int argc, char **argv)
{
	static char block[4096];
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	bool uring = argc == 4 && strcmp(argv[1], "-o") == 0;

	if (argc != 2 && !uring)
		errx(2, "usage: null [-o io_uring] MOUNTPOINT");
	backing = open(P_tmpdir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (backing < 0 || write(backing, block, sizeof(block)) != (ssize_t)sizeof(block))
		err(1, "%s", P_tmpdir);
	fuse_opt_add_arg(&args, argv[0]);
	fuse_opt_add_arg(&args, "-odefault_permissions,allow_other");
	if (uring)
		fuse_opt_add_arg(&args, "-oio_uring");
	session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!session)
		return 1;
	return serve(argv[argc - 1]);
}
