// The index: whatever bytes it has, it is read without harm or begun anew, and then it works.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/index.h"
#include "store/store.h"
#include "tests/fuzz/fuzz.h"

static int look(const struct index_file *f, void *arg)
{
	*(uint64_t *)arg ^= f->ino ^ f->stamp ^ f->digest.high ^ f->digest.low ^ f->identity;
	return 0;
}

static bool is_wanted(const char *guest, void *arg)
{
	(void)arg;
	return *guest == 'o';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct store *s;
	const struct index_file f = { 7, 8, { 9, 10 }, 11 };
	struct index_pass pass = { .started = 1 };
	enum index_state state;
	struct index *x;
	uint64_t sum = 0;
	uint8_t *listing = NULL;
	size_t listing_size;
	int pool;

	if (!s)
		s = fuzz_store(&pool);
	fuzz_write(s->dir, "index.sqlite", data, size);
	if (index_open(s, 0, false, &x, &state) == 0 && x) {
		index_each(x, look, &sum);
		index_last_pass(x, &pass);
		index_close(x);
	}
	if (index_open(s, 0, true, &x, &state) < 0)
		return 0;
	index_get_listing(x, "guest", &listing, &listing_size);
	free(listing);
	if (index_each(x, look, &sum) == 0 && index_put(x, &f, 1) == 0 &&
	    index_put_listing(x, "other", data, size) == 0 && index_keep_listings(x, is_wanted, NULL) == 0)
		index_add_pass(x, &pass);
	index_close(x);
	index_drop(s);
	return 0;
}
