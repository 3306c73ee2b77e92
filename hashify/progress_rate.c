#include "hashify/progress_rate.h"

#include <stddef.h>

// Samples at this distance, so that the ring covers the last seconds.
#define DISTANCE 1.0
#define WINDOW 15.0

// A file takes time however small it is: as long as so many bytes of a large one.
#define BYTES_PER_FILE 65536.0

static const struct progress_sample *sample(const struct progress_rate *r, unsigned age)
{
	return &r->samples[(r->next + PROGRESS_SAMPLES - 1 - age) % PROGRESS_SAMPLES];
}

// The oldest sample of the window. Where nobody asked for long, the newest that is old enough to tell.
static const struct progress_sample *oldest(const struct progress_rate *r, double now)
{
	unsigned age = 0;
	if (r->count == 0)
		return NULL;
	while (age + 1 < r->count &&
	       (now - sample(r, age + 1)->time <= WINDOW || now - sample(r, age)->time < DISTANCE))
		age++;
	return sample(r, age);
}

static double work(uint64_t files, uint64_t bytes)
{
	return (double)files * BYTES_PER_FILE + (double)bytes;
}

struct progress_speed progress_rate_take(struct progress_rate *r, const struct progress_sample *now,
					 const struct progress_sample *total)
{
	struct progress_speed ret = { -1, -1 };
	const struct progress_sample *since = oldest(r, now->time);

	if (since && now->time > since->time) {
		double seconds = now->time - since->time;
		double done = work(now->files - since->files, now->bytes - since->bytes);
		double rest = work(total->files, total->bytes) - work(now->files, now->bytes);
		ret.rate = (double)(now->bytes - since->bytes) / seconds;
		if (rest <= 0)
			ret.left = 0;
		else if (done > 0)
			ret.left = rest / done * seconds;
	}
	if (r->count == 0 || now->time - sample(r, 0)->time >= DISTANCE) {
		r->samples[r->next] = *now;
		r->next = (r->next + 1) % PROGRESS_SAMPLES;
		r->count += r->count < PROGRESS_SAMPLES;
	}
	return ret;
}
