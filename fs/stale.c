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

// Forgets @tid. Was it told lately?
static bool take(struct stale *s, pid_t tid)
{
	bool lately = false;

	for (unsigned i = 0; i < STALE_THREADS; i++) {
		if (s->told[i].tid != tid)
			continue;
		lately = s->told[i].until >= now();
		s->told[i].tid = 0;
	}
	return lately;
}

bool stale_tell(struct stale *s, pid_t tid)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&s->lock);

	if (take(s, tid))
		return false;
	s->told[s->next].tid = tid;
	s->told[s->next].until = now() + RETRY_SECONDS;
	s->next = (s->next + 1) % STALE_THREADS;
	return true;
}

void stale_settled(struct stale *s, pid_t tid)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&s->lock);
	take(s, tid);
}
