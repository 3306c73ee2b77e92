#include "fs/cred.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "fs/fuse.h"
#include "fs/hashfs.h"
#include "store/base/cleanup.h"
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

static FILE *open_of_caller(fuse_req_t req, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)fuse_req_ctx(req)->pid, file);
	return fopen(path, "re");
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

// Is @uid one of those that there are in the caller's user namespace?
static bool is_mapped(fuse_req_t req, uid_t uid)
{
	unsigned inside, outside, count;
	bool found = false;
	FILE *f = open_of_caller(req, "uid_map");

	while (f && !found && fscanf(f, "%u %u %u", &inside, &outside, &count) == 3)
		found = uid >= outside && uid - outside < count;
	if (f)
		fclose(f);
	return found;
}

bool cred_overrides(fuse_req_t req, uid_t uid)
{
	return is_mapped(req, uid) && has_capabilities(req, sys_caps_of_owner());
}
