// XXH3-128 with the store's seed: tells contents apart quickly. It is not cryptographic, a guest may craft a
// collision: equal digests are a hint that bytes are worth comparing, never a proof.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct digest {
	uint64_t high, low;
};

struct digest digest_of(uint64_t seed, const void *data, size_t size);

// 64 bits, for map keys and inode numbers.
uint64_t digest_hash64(uint64_t seed, const void *data, size_t size);

static inline bool digest_equal(struct digest a, struct digest b)
{
	return a.high == b.high && a.low == b.low;
}

// Streaming: digest_stream_new() (NULL: no memory), _update() in order, _final(), _reset() for the next.
struct digest_stream;
struct digest_stream *digest_stream_new(uint64_t seed);
void digest_stream_reset(struct digest_stream *s);
void digest_stream_update(struct digest_stream *s, const void *data, size_t size);
struct digest digest_stream_final(const struct digest_stream *s);
void digest_stream_free(struct digest_stream *s);
