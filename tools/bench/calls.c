// Times system calls on files, from one or several processes at once.
//
//	calls [-p PROCESSES] [-n ROUNDS] open|read|lstat|break|truncate <LIST
//	calls walk DIR                                                   readdir and lstat of all that is beneath
//	calls [-n ROUNDS] preads|preadr|pwrites|pwriter|fault FILE       sequential (1 MiB) or random (4 KiB), of the whole file
//	calls [-p PROCESSES] [-n FILES] create|rename|unlink DIR         files of 4 KiB
//
// Prints microseconds a call (walk: seconds), by the wall clock, of all processes together.
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEQUENTIAL ((size_t)1 << 20)
#define RANDOM ((size_t)4096)

static char **names;
static size_t count;
static unsigned processes = 1;
static size_t rounds = 1;
static char buffer[SEQUENTIAL];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void read_list(void)
{
	char *line = NULL;
	size_t room = 0, capacity = 0;

	for (ssize_t n; (n = getline(&line, &room, stdin)) > 0; count++) {
		if (count == capacity) {
			capacity = capacity * 2 + 1024;
			names = realloc(names, capacity * sizeof(*names));
			if (!names)
				err(1, "names");
		}
		line[n - (line[n - 1] == '\n')] = '\0';
		names[count] = strdup(line);
	}
	free(line);
}

static int open_or_die(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC, 0644);
	if (fd < 0)
		err(1, "%s", name);
	return fd;
}

static void open_file(const char *name)
{
	close(open_or_die(name, O_RDONLY));
}

static void read_file(const char *name)
{
	int fd = open_or_die(name, O_RDONLY);
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
	close(fd);
}

static void lstat_file(const char *name)
{
	struct stat st;
	if (lstat(name, &st) < 0)
		err(1, "%s", name);
}

static void break_file(const char *name)
{
	close(open_or_die(name, O_WRONLY));
}

static void truncate_file(const char *name)
{
	close(open_or_die(name, O_WRONLY | O_TRUNC));
}

static const struct on_name {
	const char *what;
	void (*run)(const char *name);
} on_names[] = { { "open", open_file }, { "read", read_file }, { "lstat", lstat_file }, { "break", break_file },
	      { "truncate", truncate_file } };

// Each of the processes takes every name, from a place of its own on.
static void each_name(unsigned process, const void *arg)
{
	const struct on_name *op = arg;
	for (size_t i = 0; i < rounds * count; i++)
		op->run(names[(i + process * count / processes) % count]);
}

// @path has room for more.
static size_t walk(char *path, size_t length)
{
	size_t seen = 0;
	DIR *d = opendir(path);
	if (!d)
		err(1, "%s", path);
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			err(1, "%s/%s", path, e->d_name);
		seen++;
		if (!S_ISDIR(st.st_mode))
			continue;
		int more = snprintf(path + length, 65536 - length, "/%s", e->d_name);
		seen += walk(path, length + (size_t)more);
		path[length] = '\0';
	}
	closedir(d);
	return seen;
}

static void walk_all(const char *top)
{
	static char path[65536];
	int length = snprintf(path, sizeof(path), "%s", top);
	walk(path, (size_t)length);
}

// The same places in each run.
static uint64_t noise(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

// Returns the number of calls.
static size_t whole_file(const char *what, const char *name)
{
	bool writing = strncmp(what, "pwrite", 6) == 0, random = what[strlen(what) - 1] == 'r';
	size_t piece = random ? RANDOM : SEQUENTIAL;
	struct stat st;
	uint64_t state = 1;
	int fd = open_or_die(name, writing ? O_RDWR : O_RDONLY);
	if (fstat(fd, &st) < 0)
		err(1, "%s", name);
	size_t pieces = (size_t)st.st_size / piece;
	for (size_t i = 0; i < rounds * pieces; i++) {
		off_t at = (off_t)(piece * (random ? noise(&state) % pieces : i % pieces));
		ssize_t done = writing ? pwrite(fd, buffer, piece, at) : pread(fd, buffer, piece, at);
		if (done != (ssize_t)piece)
			err(1, "%s", name);
	}
	close(fd);
	return rounds * pieces;
}

// Touches each page of a fresh mapping.
static size_t fault(const char *name)
{
	struct stat st;
	volatile char sum = 0;
	int fd = open_or_die(name, O_RDONLY);
	if (fstat(fd, &st) < 0)
		err(1, "%s", name);
	size_t size = (size_t)st.st_size / RANDOM * RANDOM;
	for (size_t i = 0; i < rounds; i++) {
		char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			err(1, "%s", name);
		for (size_t at = 0; at < size; at += RANDOM)
			sum += map[at];
		munmap(map, size);
	}
	close(fd);
	return rounds * (size / RANDOM);
}

struct in_directory {
	const char *what, *dir;
};

static void on_files(unsigned process, const void *arg)
{
	const struct in_directory *in = arg;
	char name[4096], to[4096];

	for (size_t i = 0; i < rounds; i++) {
		snprintf(name, sizeof(name), "%s/%u.%zu/f%zu", in->dir, process, i / 200, i);
		if (strcmp(in->what, "create") == 0) {
			if (i % 200 == 0) {
				snprintf(to, sizeof(to), "%s/%u.%zu", in->dir, process, i / 200);
				if (mkdir(to, 0755) < 0)
					err(1, "%s", to);
			}
			int fd = open_or_die(name, O_WRONLY | O_CREAT | O_EXCL);
			if (write(fd, buffer, RANDOM) != (ssize_t)RANDOM)
				err(1, "%s", name);
			close(fd);
			continue;
		}
		snprintf(to, sizeof(to), "%s/%u.%zu/r%zu", in->dir, process, i / 200, i);
		if ((strcmp(in->what, "rename") == 0 ? rename(name, to) : unlink(to)) < 0)
			err(1, "%s", name);
	}
}

static void in_processes(void (*run)(unsigned process, const void *arg), const void *arg)
{
	int status, bad = 0;

	for (unsigned i = 0; i < processes; i++) {
		pid_t pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (pid == 0) {
			run(i, arg);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		bad |= status;
	if (bad)
		exit(1);
}

static const struct on_name *find_op(const char *what)
{
	for (size_t i = 0; i < sizeof(on_names) / sizeof(*on_names); i++)
		if (strcmp(what, on_names[i].what) == 0)
			return &on_names[i];
	return NULL;
}

int main(int argc, char **argv)
{
	for (int o; (o = getopt(argc, argv, "p:n:")) != -1;) {
		if (o == 'p')
			processes = (unsigned)atoi(optarg);
		else if (o == 'n')
			rounds = (size_t)atol(optarg);
		else
			return 2;
	}
	const char *what = argv[optind], *where = what ? argv[optind + 1] : NULL;
	if (!what || processes == 0)
		return 2;
	const struct on_name *op = find_op(what);
	if (!op && !where)
		return 2;
	if (op)
		read_list();
	memset(buffer, 'x', sizeof(buffer));

	size_t calls;
	double start = now();
	if (op) {
		in_processes(each_name, op);
		calls = rounds * count * processes;
	} else if (strcmp(what, "walk") == 0) {
		walk_all(where);
		printf("%.6f\n", now() - start);
		return 0;
	} else if (strcmp(what, "fault") == 0) {
		calls = fault(where);
	} else if (strncmp(what, "pread", 5) == 0 || strncmp(what, "pwrite", 6) == 0) {
		calls = whole_file(what, where);
	} else {
		in_processes(on_files, &(struct in_directory){ what, where });
		calls = rounds * processes;
	}
	printf("%.6f\n", (now() - start) * 1e6 / (double)calls);
	return 0;
}
