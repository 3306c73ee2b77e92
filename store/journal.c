#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/dir.h"
#include "store/store.h"

// A record is "TMP\nINODE BORN\nPATH\0" at the start of its slot, both numbers in hexadecimal at full length.
// What is behind it is of older records.
#define ID_SIZE 33
#define SLOT_SIZE (TMP_NAME_SIZE + ID_SIZE + PATH_MAX + 3)

static const char prefix[] = "journal-";

static void name_print(unsigned worker, char ret[TMP_NAME_SIZE])
{
	snprintf(ret, TMP_NAME_SIZE, "%s%u", prefix, worker);
}

int journal_open(struct store *s, unsigned worker)
{
	char name[TMP_NAME_SIZE];

	name_print(worker, name);
	unlinkat(s->tmp, name, 0);
	int fd = openat(s->tmp, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int journal_write(int fd, uint64_t slot, const char *tmp, const char *path, struct dir_id in)
{
	char record[SLOT_SIZE];

	int length = snprintf(record, sizeof(record), "%s\n%016" PRIx64 " %016" PRIx64 "\n%s", tmp, in.ino,
			      (uint64_t)in.born, path);
	if ((size_t)length >= sizeof(record))
		return 0;
	return fd_pwrite_all(fd, record, (size_t)length + 1, slot % JOURNAL_SLOTS * SLOT_SIZE);
}

// What follows a record's name, a string. Returns the path.
static const char *parse(const char *text, struct dir_id *ret)
{
	uint64_t born;
	int length = -1;

	if (sscanf(text, "%16" SCNx64 " %16" SCNx64 "%n", &ret->ino, &born, &length) != 2 ||
	    length != ID_SIZE || text[length] != '\n')
		return NULL;
	ret->born = (int64_t)born;
	return text + length + 1;
}

static int find_in(int dir, const char *name, const char *tmp, char **ret_path, struct dir_id *ret_in)
{
	char record[SLOT_SIZE];
	size_t length = strlen(tmp);
	auto_close int fd = beneath_open_file(dir, name);

	if (fd < 0)
		return fd;
	for (uint64_t slot = 0; slot < JOURNAL_SLOTS; slot++) {
		ssize_t got = fd_pread_all(fd, record, sizeof(record), slot * SLOT_SIZE);
		if (got <= (ssize_t)length)
			return got < 0 ? (int)got : -ENOENT;
		if (strncmp(record, tmp, length) != 0 || record[length] != '\n')
			continue;
		size_t rest = (size_t)got - length - 1;
		if (strnlen(record + length + 1, rest) == rest)
			continue;  // cut off
		const char *path = parse(record + length + 1, ret_in);
		if (!path)
			continue;
		*ret_path = strdup(path);
		return *ret_path ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static bool is_journal(const struct dirent64 *e)
{
	return strncmp(e->d_name, prefix, sizeof(prefix) - 1) == 0;
}

struct search {
	const char *tmp;
	char **ret_path;
	struct dir_id *ret_in;
};

#define FOUND 1

static int search_in(int dir, const struct dirent64 *e, void *arg)
{
	const struct search *search = arg;
	int r = is_journal(e) ? find_in(dir, e->d_name, search->tmp, search->ret_path, search->ret_in)
			      : -ENOENT;
	return r == -ENOENT ? 0 : r == 0 ? FOUND : r;
}

int journal_find(struct store *s, const char *tmp, char **ret_path, struct dir_id *ret_in)
{
	struct search search = { tmp, ret_path, ret_in };
	int r = dir_each(s->tmp, ".", search_in, &search);
	return r == FOUND ? 0 : r == 0 ? -ENOENT : r;
}

void journal_remove(struct store *s, unsigned worker)
{
	char name[TMP_NAME_SIZE];

	name_print(worker, name);
	unlinkat(s->tmp, name, 0);
}

static int remove_if_journal(int dir, const struct dirent64 *e, void *arg)
{
	(void)arg;
	return is_journal(e) && unlinkat(dir, e->d_name, 0) < 0 ? -errno : 0;
}

int journal_remove_all(struct store *s)
{
	return dir_each(s->tmp, ".", remove_if_journal, NULL);
}
