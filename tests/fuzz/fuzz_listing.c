// Listings of directories, as the index keeps them: whatever bytes it has, the entries of what is taken for
// one are names.
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "hashify/listing.h"
#include "store/digest.h"
#include "tests/fuzz/fuzz.h"

static void look(const struct listing *d)
{
	struct listing_entry e;

	for (size_t at = 0; listing_next(d, &at, &e);)
		fuzz_check(strlen(e.name) <= NAME_MAX && !strchr(e.name, '/') && strcmp(e.name, "..") != 0);
}

// The checksum is put right: fuzzing would never find one. Whether the set of objects is the same is left to
// the input.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct listings l;
	uint64_t key[2];
	uint8_t *copy = malloc(size + sizeof(uint64_t));

	memcpy(copy + sizeof(uint64_t), data, size);
	const uint64_t sum = digest_hash64(0, data, size);
	memcpy(copy, &sum, sizeof(sum));
	listings_init(&l, copy, size + sizeof(sum), 0, 1 << 20);
	for (size_t at = 0; at + sizeof(key) <= size; at++) {
		memcpy(key, data + at, sizeof(key));
		struct listing *d = listings_find(&l, key[0], key[1]);
		if (d) {
			look(d);
			listings_keep(&l, d);
		}
	}
	listings_result(&l, &size);
	listings_free(&l);
	return 0;
}
