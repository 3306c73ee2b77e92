// The index: whatever bytes it has, it is read without harm or begun anew, and then it works. An input is a
// list of patches to a good one, because only that is read: two bytes of an offset, one of a length and so
// many bytes; a length of 0 cuts the file off there.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/base/fd.h"
#include "store/index.h"
#include "store/store.h"
#include "tests/fuzz/fuzz.h"

#define ROWS 600  // more than a page has room for
#define LISTING_SIZE 10000

static struct store *store;
static uint8_t good[1 << 16], patched[sizeof(good)];
static size_t good_size;

static int look(const struct index_file *f, void *arg)
{
	(void)f;
	++*(uint64_t *)arg;
	return 0;
}

static int look_verified(const struct index_verified *v, void *arg)
{
	(void)v;
	++*(uint64_t *)arg;
	return 0;
}

static bool is_wanted(const char *guest, void *arg)
{
	(void)arg;
	return *guest == 'o';
}

// What a pass does that only looks. Returns how many rows it found; 0: it did without.
static uint64_t read_index(void)
{
	struct index_pass pass;
	enum index_state state;
	struct index *x;
	uint64_t rows = 0, verified = 0;
	uint8_t *listing = NULL;
	size_t listing_size;

	if (index_open(store, 0, false, &x, &state) < 0 || !x)
		return 0;
	index_each(x, look, &rows);
	index_each_verified(x, look_verified, &verified);
	index_last_pass(x, &pass);
	index_get_listing(x, "guest", &listing, &listing_size);
	free(listing);
	index_close(x);
	return rows;
}

static void write_index(void)
{
	const struct index_file f = { 7, 8, { 9, 10 }, 11 };
	const struct index_pass pass = { .started = 1 };
	enum index_state state;
	struct index *x;
	uint64_t rows = 0, verified = 0;

	if (index_open(store, 0, true, &x, &state) < 0)
		return;
	if (index_each(x, look, &rows) == 0 && index_put(x, &f, 1) == 0 && index_remove(x, f.ino) == 0 &&
	    index_put_listing(x, "other", good, LISTING_SIZE) == 0 &&
	    index_keep_listings(x, is_wanted, NULL) == 0)
		index_add_pass(x, &pass);
	if (index_put_verified(x, &(struct index_verified){ 7, 8 }) == 0 &&
	    index_each_verified(x, look_verified, &verified) == 0)
		index_forget_verified(x);
	index_close(x);
}

static void make_good(void)
{
	static const uint8_t listing[LISTING_SIZE];
	const struct index_pass pass = { 1, 2.5, 3, 4, 5, 6, 7, 8, 9 };
	enum index_state state;
	struct index *x;
	int pool;

	store = fuzz_store(&pool);
	fuzz_check(index_open(store, 0, true, &x, &state) == 0);
	for (uint64_t n = 0; n < ROWS; n++) {
		const struct index_file f = { n * n, n << 40, { n << 50, n }, n };
		fuzz_check(index_put(x, &f, 1) == 0);
		fuzz_check(n % 10 || index_put_verified(x, &(struct index_verified){ n, (int64_t)n }) == 0);
	}
	fuzz_check(index_put_listing(x, "guest", listing, sizeof(listing)) == 0);
	fuzz_check(index_add_pass(x, &pass) == 0 && index_close(x) == 0);
	good_size = fuzz_read(store->dir, "index.sqlite", good, sizeof(good));
	fuzz_check(read_index() == ROWS);
}

static size_t patch(const uint8_t *data, size_t size)
{
	size_t left = good_size;

	memcpy(patched, good, good_size);
	while (size > 3) {
		size_t at = (data[0] | (size_t)data[1] << 8) % good_size, length = data[2];
		if (length == 0)
			left = at;
		data += 3, size -= 3;
		length = length < size ? length : size;
		length = length < good_size - at ? length : good_size - at;
		memcpy(patched + at, data, length);
		data += length, size -= length;
	}
	return left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!store)
		make_good();
	fuzz_write(store->dir, "index.sqlite", patched, patch(data, size));
	read_index();
	write_index();
	index_drop(store);
	return 0;
}
