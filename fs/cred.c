#include "fs/cred.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fs/fuse.h"
#include "fs/hashfs.h"
#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/base/sys.h"

int cred_init(const struct hashfs *fs)
{
	umask(0);
	// Without this, changing the file-system uid from 0 drops CAP_DAC_OVERRIDE, CAP_FOWNER and their
	// like, and supplementary groups, which cost a read of /proc per request, would decide again what the
	// kernel has decided.
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0)
		return -errno;
	sys_setfsid(fs->uid, fs->gid);
	// With it, no limit of a quota would hold for any caller.
	return sys_drop_cap_resource();
}

// The umask is the process's; a thread that has left the common file-system context has one of its own.
static void own_umask(void)
{
	static _Thread_local bool unshared;

	if (unshared)
		return;
	int r = unshare(CLONE_FS);
	assert(r == 0);
	unshared = true;
}

// The kernel makes new credentials for each id that is set, though it be the same: 2 µs.
static bool is_other(const struct hashfs *fs, const struct fuse_ctx *caller)
{
	return fs->privileged && (caller->uid != fs->uid || caller->gid != fs->gid);
}

void cred_enter(const struct hashfs *fs, const struct fuse_ctx *caller)
{
	own_umask();
	umask(caller->umask);
	if (is_other(fs, caller))
		sys_setfsid(caller->uid, caller->gid);
}

void cred_leave(const struct hashfs *fs, const struct fuse_ctx *caller)
{
	if (is_other(fs, caller))
		sys_setfsid(fs->uid, fs->gid);
	umask(0);
}

bool cred_in_group(fuse_req_t req, gid_t gid)
{
	if (fuse_req_ctx(req)->gid == gid)
		return true;
	auto_free gid_t *groups = malloc(NGROUPS_MAX * sizeof(*groups));
	int count = groups ? fuse_req_getgroups(req, NGROUPS_MAX, groups) : 0;
	for (int i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

struct proc_path {
	char text[64];
};

static struct proc_path path_of_caller(fuse_req_t req, const char *file)
{
	struct proc_path path;

	snprintf(path.text, sizeof(path.text), "/proc/%d/%s", (int)fuse_req_ctx(req)->pid, file);
	return path;
}

static FILE *open_of_caller(fuse_req_t req, const char *file)
{
	return fopen(path_of_caller(req, file).text, "re");
}

static bool has_capabilities(fuse_req_t req, uint64_t wanted)
{
	char line[256];
	uint64_t has = 0;
	FILE *f = open_of_caller(req, "status");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &has) == 1)
			break;
	if (f)
		fclose(f);
	return (has & wanted) == wanted;
}

// Is @id one of those that there are in the caller's user namespace, by the file @map?
static bool is_mapped(fuse_req_t req, const char *map, unsigned id)
{
	unsigned inside, outside, count;
	bool found = false;
	FILE *f = open_of_caller(req, map);

	while (f && !found && fscanf(f, "%u %u %u", &inside, &outside, &count) == 3)
		found = id >= outside && id - outside < count;
	if (f)
		fclose(f);
	return found;
}

bool cred_overrides(fuse_req_t req, uid_t uid)
{
	return is_mapped(req, "uid_map", uid) && has_capabilities(req, sys_caps_of_owner());
}

bool cred_keeps_set_gid(fuse_req_t req, const struct stat *st)
{
	if (fuse_req_ctx(req)->uid == 0 || cred_in_group(req, st->st_gid))
		return true;
	return is_mapped(req, "uid_map", st->st_uid) && is_mapped(req, "gid_map", st->st_gid) &&
	       has_capabilities(req, sys_cap_of_set_gid());
}

struct open_file {
	dev_t dev;
	uint64_t ino;
};

// The link's mode tells how it is open. Its file may be served by us, or by somebody who never answers: so
// nobody is asked for its status (AT_STATX_DONT_SYNC).
static int is_written(int dir, const struct dirent64 *e, void *arg)
{
	const struct open_file *f = arg;
	struct stat link;
	struct statx st;

	if (fstatat(dir, e->d_name, &link, AT_SYMLINK_NOFOLLOW) < 0 || !(link.st_mode & S_IWUSR) ||
	    statx(dir, e->d_name, AT_STATX_DONT_SYNC, STATX_INO, &st) < 0)
		return 0;
	return st.stx_ino == f->ino && makedev(st.stx_dev_major, st.stx_dev_minor) == f->dev;
}

bool cred_writes_to(fuse_req_t req, dev_t dev, uint64_t ino)
{
	struct open_file f = { dev, ino };
	return dir_each(AT_FDCWD, path_of_caller(req, "fd").text, is_written, &f) == 1;
}
