// A journal: whatever bytes it has, the path that is found in it is there, and can be recorded again. An
// input is the name that is looked for, up to the first NUL, and the journal.
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/base/dir.h"
#include "store/base/fd.h"
#include "store/journal.h"
#include "store/store.h"
#include "tests/fuzz/fuzz.h"

static void check(struct store *s, const char *tmp, const char *path, struct dir_id in)
{
	char *again = NULL;
	struct dir_id in_again;
	int fd = journal_open(s, 0);

	fuzz_check(fd >= 0 && strlen(path) <= TMP_NAME_SIZE + PATH_MAX);
	fuzz_check(journal_write(fd, JOURNAL_SLOTS + 1, "another", "path", in) == 0);
	fuzz_check(journal_write(fd, 0, tmp, path, in) == 0);
	fuzz_check(journal_find(s, tmp, &again, &in_again) == 0 && strcmp(path, again) == 0);
	fuzz_check(dir_id_equal(in, in_again));
	free(again);
	fd_close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct store *s;
	const uint8_t *end = memchr(data, '\0', size);
	char *path = NULL;
	struct dir_id in;
	int pool;

	if (!s)
		s = fuzz_store(&pool);
	if (!end || (size_t)(end - data) >= TMP_NAME_SIZE)
		return 0;
	const char *tmp = (const char *)data;
	const uint8_t *text = end + 1;
	size_t text_size = size - (size_t)(text - data);
	fuzz_write(s->tmp, "journal-0", text, text_size);
	if (journal_find(s, tmp, &path, &in) == 0) {
		fuzz_check(memmem(text, text_size, path, strlen(path) + 1) != NULL);
		check(s, tmp, path, in);
		free(path);
	}
	return 0;
}
