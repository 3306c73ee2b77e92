#include "store/digest.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct digest_stream {
	XXH3_state_t state;
	uint64_t seed;
};

static struct digest from_xxh(XXH128_hash_t h)
{
	return (struct digest){ .high = h.high64, .low = h.low64 };
}

struct digest digest_of(uint64_t seed, const void *data, size_t size)
{
	return from_xxh(XXH3_128bits_withSeed(data, size, seed));
}

uint64_t digest_hash64(uint64_t seed, const void *data, size_t size)
{
	return XXH3_64bits_withSeed(data, size, seed);
}

struct digest_stream *digest_stream_new(uint64_t seed)
{
	// The state holds vectors.
	struct digest_stream *s = aligned_alloc(64, (sizeof(*s) + 63) / 64 * 64);
	if (!s)
		return NULL;
	s->seed = seed;
	digest_stream_reset(s);
	return s;
}

void digest_stream_reset(struct digest_stream *s)
{
	XXH3_INITSTATE(&s->state);
	XXH3_128bits_reset_withSeed(&s->state, s->seed);
}

void digest_stream_update(struct digest_stream *s, const void *data, size_t size)
{
	XXH3_128bits_update(&s->state, data, size);
}

struct digest digest_stream_final(const struct digest_stream *s)
{
	return from_xxh(XXH3_128bits_digest(&s->state));
}

void digest_stream_free(struct digest_stream *s)
{
	free(s);
}
