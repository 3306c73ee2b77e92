#include "fs/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/sys.h"

struct range {
	char type;
	unsigned disk, shown, count;
};

// Takes the next range off *@map. False: there is none, and *@map is "" if that is the end.
static bool next_range(const char **map, struct range *ret)
{
	int length = 0;

	*map += strspn(*map, " ");
	if (sscanf(*map, "%c:%u:%u:%u%n", &ret->type, &ret->disk, &ret->shown, &ret->count, &length) != 4)
		return false;
	if (!strchr("ugb", ret->type) || ((*map)[length] && (*map)[length] != ' '))
		return false;
	*map += length;
	return true;
}

bool idmap_is_valid(const char *map)
{
	struct range r;

	if (*map == '/')
		return true;
	do {
		if (!next_range(&map, &r))
			return false;
	} while (map[strspn(map, " ")]);
	return true;
}

// Writes the ranges of @type to the map of a process's user namespace (user_namespaces(7)).
static int write_map(pid_t pid, const char *map, char type)
{
	char path[64], text[4096];
	size_t length = 0;

	for (struct range r; next_range(&map, &r);) {
		if (r.type != type && r.type != 'b')
			continue;
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%u %u %u\n", r.disk,
					   r.shown, r.count);
		if (length >= sizeof(text))
			return -E2BIG;
	}
	snprintf(path, sizeof(path), "/proc/%d/%cid_map", (int)pid, type);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, length) != (ssize_t)length ? -errno : 0;
}

static int map_and_open(pid_t pid, const char *map)
{
	char path[64];

	int r = write_map(pid, map, 'u');
	if (r == 0)
		r = write_map(pid, map, 'g');
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

// A user namespace begins with a process; the fd keeps it.
static int make_namespace(const char *map)
{
	int status;

	pid_t pid = sys_fork_in_user_namespace();
	if (pid < 0)
		return pid;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		kill(getpid(), SIGSTOP);
		_exit(0);
	}
	if (waitpid(pid, &status, WUNTRACED) < 0)
		return -errno;
	if (!WIFSTOPPED(status))
		return -EPERM;
	int fd = map_and_open(pid, map);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return fd;
}

static int open_namespace(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int idmap_apply(int mount, const char *map)
{
	auto_close int namespace = *map == '/' ? open_namespace(map) : make_namespace(map);
	return namespace < 0 ? namespace : sys_mount_idmap(mount, namespace);
}
