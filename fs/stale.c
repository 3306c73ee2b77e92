#include "fs/stale.h"

#include "store/base/cleanup.h"

#define RETRY_SECONDS 2

void stale_init(struct stale *s)
{
	mutex_init(&s->lock);
}

void stale_destroy(struct stale *s)
{
	mutex_destroy(&s->lock);
}

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

// Forgets that @tid was told of @ino. Was it, lately?
static bool take(struct stale *s, pid_t tid, uint64_t ino)
{
	bool lately = false;

	for (unsigned i = 0; i < STALE_THREADS; i++) {
		if (s->told[i].tid != tid || s->told[i].ino != ino)
			continue;
		lately = lately || s->told[i].until >= now();
		s->told[i].until = 0;
	}
	return lately;
}

bool stale_tell(struct stale *s, pid_t tid, uint64_t ino)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&s->lock);

	if (take(s, tid, ino))
		return false;
	s->told[s->next].tid = tid;
	s->told[s->next].ino = ino;
	s->told[s->next].until = now() + RETRY_SECONDS;
	s->next = (s->next + 1) % STALE_THREADS;
	return true;
}

void stale_settled(struct stale *s, pid_t tid)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&s->lock);

	for (unsigned i = 0; i < STALE_THREADS; i++)
		if (s->told[i].tid == tid && tid != STALE_ANYBODY)
			s->told[i].until = 0;
}
