#include "fs/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/fuse.h"
#include "fs/idmap.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"

#ifndef HASHFS_VERSION
#define HASHFS_VERSION "0.1"
#endif

// One that copies a big file does not keep the others waiting.
#define DEFAULT_THREADS 32

static const char help[] =
	"Usage: hashfs [-f] [-d] [-o OPTION,...] SOURCE MOUNTPOINT\n"
	"\n"
	"Mounts SOURCE, a guest, a pool or any directory in a pool, at MOUNTPOINT. Files that\n"
	"`hashify POOL` has linked together share disk and memory; the first change of one makes\n"
	"it this guest's own, so that no guest ever changes another's file.\n"
	"\n"
	"  -f, --foreground    stay in the foreground\n"
	"  -d, --debug         the same, and print every request\n"
	"  -h, --help          print this\n"
	"  -V, --version       print the version\n"
	"\n"
	"Options for -o:\n"
	"  passthrough=auto|yes|no  let the kernel read and write files itself, which is what shares\n"
	"                      memory. yes: fail if it can't (root, Linux 6.12). Default: auto\n"
	"  uring=auto|yes|no   speak to the kernel over io_uring. yes: fail if it can't (Linux 6.14 and\n"
	"                      /sys/module/fuse/parameters/enable_uring). Default: auto\n"
	"  coherent            a file opened before it was changed sees the change, too; memory of shared\n"
	"                      files is then not shared\n"
	"  volatile            do not flush a copy to disk before it replaces a shared file: faster, but a\n"
	"                      power cut may leave the file empty\n"
	"  cache=SECONDS       trust names and attributes for so long only; by default for ever, because\n"
	"                      nobody but this mount may change SOURCE\n"
	"  store=POOL/.hash    the store to use: SOURCE may then be a bind mount of a directory in POOL\n"
	"  idmap=b:DISK:SHOWN:COUNT  show the ids from DISK on as those from SHOWN on, for guests in user\n"
	"                      namespaces; or idmap=/proc/PID/ns/user\n"
	"  threads=N           answer no more than N requests at a time. Default: 32\n"
	"  fsname=NAME         what the mount table shows as its source; default: SOURCE\n"
	"  ro, rw, [no]suid, [no]dev, [no]exec, sync, async, dirsync, noatime, nodiratime,\n"
	"  nostrictatime, allow_other, allow_root  as in mount(8) and mount.fuse3(8)\n"
	"What else fstab(5) has for others (defaults, nofail, _netdev, x-systemd.…) or FUSE cannot change\n"
	"(relatime, lazytime, silent, nonempty, subtype= …) is accepted, and does nothing.\n"
	"\n"
	"Exit status: 0 when the mount works (it goes on in the background); 1 when it does not;\n"
	"2 when the command line is wrong.\n";

// What mount(8) and fstab(5) carry for others; what we set ourselves; and what the pool's own mount decides.
static const char *const ignored[] = {
	"auto",     "noauto",     "user",     "nouser",     "users",       "nousers",  "owner",
	"noowner",  "group",      "nogroup",  "defaults",   "_netdev",     "nofail",   "default_permissions",
	"atime",    "diratime",   "relatime", "norelatime", "strictatime", "lazytime", "nolazytime",
	"iversion", "noiversion", "mand",     "nomand",     "silent",      "loud",     "nonempty",
	NULL,
};

// The last of two that exclude each other wins.
static const char *const passed[] = {
	"ro",          "rw",         "suid",  "nosuid",  "dev",     "nodev",      "exec",
	"noexec",      "sync",       "async", "dirsync", "noatime", "nodiratime", "nostrictatime",
	"allow_other", "allow_root", NULL,
};

static bool is_one_of(const char *option, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(option, *list) == 0)
			return true;
	return false;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool append(char **list, const char *option)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", *list, **list ? "," : "", option) < 0)
		return false;
	free(*list);
	*list = longer;
	return true;
}

static bool parse_choice(const char *option, const char *value, enum choice *ret)
{
	static const char *const words[] = { "auto", "yes", "no" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcmp(value, words[i]) == 0) {
			*ret = (enum choice)i;
			return true;
		}
	}
	log_error("-o %s: expected auto, yes or no", option);
	return false;
}

static bool parse_seconds(const char *option, const char *value, double *ret)
{
	char *end;

	errno = 0;
	*ret = strtod(value, &end);
	if (*value && !*end && errno == 0 && *ret >= 0 && *ret <= 1e9)
		return true;
	log_error("-o %s: expected a number of seconds", option);
	return false;
}

static bool parse_threads(const char *option, const char *value, unsigned *ret)
{
	char *end;

	errno = 0;
	unsigned long n = strtoul(value, &end, 10);
	*ret = (unsigned)n;
	if (*value >= '0' && *value <= '9' && !*end && errno == 0 && n >= 1 && n <= 1000)
		return true;
	log_error("-o %s: expected a number from 1 to 1000", option);
	return false;
}

static bool parse_idmap(const char *option, const char *value, char **ret)
{
	free(*ret);
	*ret = strdup(value);
	if (*ret && idmap_is_valid(*ret))
		return true;
	log_error("-o %s: expected TYPE:DISK:SHOWN:COUNT, TYPE being u, g or b for both, with spaces between "
		  "several; or the path of a user namespace",
		  option);
	return false;
}

static bool wrong_directory(const char *path, const char *what)
{
	if (errno == ENOTCONN)
		log_error("%s: a mount whose program has died is there; unmount it first: umount %s", path,
			  path);
	else if (errno == ENOENT)
		log_error("%s: no such directory; %s", path, what);
	else
		log_error("%s: %s; %s", path, strerror(errno), what);
	return false;
}

static bool resolve(const char *path, const char *what, char **ret)
{
	struct stat st;

	free(*ret);  // of the same option before
	*ret = realpath(path, NULL);
	if (!*ret || stat(*ret, &st) < 0)
		return wrong_directory(path, what);
	if (S_ISDIR(st.st_mode))
		return true;
	log_error("%s: not a directory; %s", path, what);
	return false;
}

static bool refuse_remount(void)
{
	log_error("a mount of hashfs cannot be changed (remount); unmount it and mount it anew");
	return false;
}

// libfuse would leave it to a program that may not know it, and mount all the same.
static bool refuse_auto_unmount(void)
{
	log_error(
		"-o auto_unmount: not available; leave it out: hashfs unmounts when it ends, and after one that "
		"was killed `umount` does");
	return false;
}

// What is libfuse's, but has a meaning for us as well.
static bool pass(struct options *o, const char *option)
{
	if (strcmp(option, "noatime") == 0)
		o->noatime = true;
	if (strcmp(option, "ro") == 0 || strcmp(option, "rw") == 0)
		o->readonly = option[1] == 'o';
	return append(&o->mount, option);
}

static bool parse_option(struct options *o, const char *option)
{
	const char *value = strchr(option, '=');
	value = value ? value + 1 : "";

	if (starts_with(option, "passthrough="))
		return parse_choice(option, value, &o->passthrough);
	if (starts_with(option, "uring="))
		return parse_choice(option, value, &o->uring);
	if (starts_with(option, "cache="))
		return parse_seconds(option, value, &o->cache);
	if (starts_with(option, "threads="))
		return parse_threads(option, value, &o->threads);
	if (starts_with(option, "store="))
		return resolve(value, "store=DIR must be the store of a pool: POOL/.hash", &o->store);
	if (starts_with(option, "idmap="))
		return parse_idmap(option, value, &o->idmap);
	if (strcmp(option, "coherent") == 0)
		return o->coherent = true;
	if (strcmp(option, "volatile") == 0)
		return o->is_volatile = true;
	if (strcmp(option, "auto_unmount") == 0)
		return refuse_auto_unmount();
	if (strcmp(option, "remount") == 0)
		return refuse_remount();
	if (is_one_of(option, passed))
		return pass(o, option);
	if (starts_with(option, "fsname="))
		return append(&o->mount, option);
	if (!*option || is_one_of(option, ignored) || starts_with(option, "x-") ||
	    starts_with(option, "X-") || starts_with(option, "comment=") || starts_with(option, "subtype=") ||
	    starts_with(option, "user="))  // what mount(8) makes of "user" for an ordinary user
		return true;
	log_error("unknown option -o %s; `hashfs --help` lists them", option);
	return false;
}

static bool parse_list(struct options *o, char *list)
{
	char *rest = NULL;

	for (char *option = strtok_r(list, ",", &rest); option; option = strtok_r(NULL, ",", &rest))
		if (!parse_option(o, option))
			return false;
	return true;
}

// true to go on; else *@ret_status is how to end.
static bool parse_switches(int argc, char **argv, struct options *o, int *ret_status)
{
	static const struct option longs[] = {
		{ "foreground", no_argument, NULL, 'f' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "fdhVo:", longs, NULL)) != -1) {
		*ret_status = c == 'h' || c == 'V' ? 0 : 2;
		if (c == 'f')
			o->foreground = true;
		else if (c == 'd')
			o->debug = o->foreground = true;
		else if (c == 'h')
			return fputs(help, stdout), false;
		else if (c == 'V')
			return printf("hashfs %s (libfuse %s)\n", HASHFS_VERSION, fuse_pkgversion()), false;
		else if (c != 'o' || !parse_list(o, optarg))
			return false;
	}
	return true;
}

bool options_parse(int argc, char **argv, struct options *ret, int *ret_status)
{
	*ret = (struct options){ .cache = -1, .threads = DEFAULT_THREADS, .mount = strdup("") };
	if (!ret->mount || !parse_switches(argc, argv, ret, ret_status))
		return false;

	*ret_status = 2;
	if (argc - optind != 2) {
		log_error("expected SOURCE and MOUNTPOINT; see `hashfs --help`");
		return false;
	}
	*ret_status = 1;
	return resolve(argv[optind], "SOURCE must be a directory in a pool", &ret->source) &&
	       resolve(argv[optind + 1], "MOUNTPOINT must be a directory: create it first", &ret->mountpoint);
}

void options_free(struct options *o)
{
	free(o->source);
	free(o->store);
	free(o->idmap);
	free(o->mountpoint);
	free(o->mount);
}
