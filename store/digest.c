#include "store/digest.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

// Fewer in a build that tests what becomes of files whose digests are equal, of content and identity.
#ifndef DIGEST_BITS
#define DIGEST_BITS 128
#endif

struct digest_stream {
	XXH3_state_t state;
	uint64_t seed;
};

// What is left of 64 bits of which DIGEST_BITS, less @below, are kept.
static uint64_t cut(uint64_t bits, int below)
{
	int kept = DIGEST_BITS - below;
	if (kept >= 64)
		return bits;
	return kept <= 0 ? 0 : bits & ((UINT64_C(1) << kept) - 1);
}

static struct digest from_xxh(XXH128_hash_t h)
{
	return (struct digest){ .high = cut(h.high64, 64), .low = cut(h.low64, 0) };
}

struct digest digest_of(uint64_t seed, const void *data, size_t size)
{
	return from_xxh(XXH3_128bits_withSeed(data, size, seed));
}

uint64_t digest_hash64(uint64_t seed, const void *data, size_t size)
{
	return cut(XXH3_64bits_withSeed(data, size, seed), 0);
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
