#include "hashify/throttle.h"

#include "hashify/backoff.h"
#include "hashify/stop.h"
#include "store/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define BURST (SECOND / 10)

// At most this at a time, so that a signal to stop, or the end of a pause, is soon seen.
#define NAP (SECOND / 50)

// Longer than any pass, and far from where 64 bits end.
#define FOR_EVER (UINT64_C(1) << 60)

static const char *const pressure_files[BACKOFF_KINDS] = { "/proc/pressure/io", "/proc/pressure/memory" };

struct throttle {
	struct throttle_world world;
	int pressure_fds[BACKOFF_KINDS];  // owned; of the real world
	uint64_t limit;
	bool back_off;
	_Atomic uint64_t free_till;  // ns: there is nothing to decide before; 0: there is

	pthread_mutex_t lock;  // guards all below
	uint64_t paid_at;      // ns: when all that was taken could have been read at the limit
	struct backoff backoff;
};

static uint64_t real_now(void *arg)
{
	(void)arg;
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void real_sleep(void *arg, uint64_t ns)
{
	(void)arg;
	const struct timespec t = { (time_t)(ns / SECOND), (long)(ns % SECOND) };
	nanosleep(&t, NULL);
}

static bool real_stopped(void *arg)
{
	(void)arg;
	return stop_asked();
}

// "some avg10=0.00 avg60=0.00 avg300=0.00 total=12345", in µs; a line for "full" follows.
static int read_total(int fd, uint64_t *ret)
{
	char text[256];
	ssize_t r = pread(fd, text, sizeof(text) - 1, 0);
	if (r < 0)
		return -errno;
	text[r] = '\0';
	const char *total = strstr(text, "total=");
	if (strncmp(text, "some ", 5) != 0 || !total)
		return -EBADMSG;
	*ret = strtoull(total + strlen("total="), NULL, 10) * 1000;
	return 0;
}

static int real_pressure(void *arg, struct backoff_pressure *ret)
{
	const struct throttle *t = arg;
	for (int i = 0; i < BACKOFF_KINDS; i++) {
		int r = t->pressure_fds[i] < 0 ? -ENOENT : read_total(t->pressure_fds[i], &ret->total[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static uint64_t now(const struct throttle *t)
{
	return t->world.now(t->world.arg);
}

int throttle_new(const struct throttle_options *o, struct throttle **ret)
{
	struct throttle *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->limit = o->limit;
	t->world = o->world ? *o->world
			    : (struct throttle_world){ real_now, real_sleep, real_pressure, real_stopped, t };
	for (int i = 0; i < BACKOFF_KINDS; i++)
		t->pressure_fds[i] = o->back_off && !o->world ? open(pressure_files[i], O_RDONLY | O_CLOEXEC)
							      : -1;
	struct backoff_pressure pressure;
	t->back_off = o->back_off && t->world.pressure(t->world.arg, &pressure) == 0;
	if (t->back_off)
		backoff_init(&t->backoff, now(t), &pressure);
	mutex_init(&t->lock);
	*ret = t;
	return 0;
}

void throttle_free(struct throttle *t)
{
	if (!t)
		return;
	for (int i = 0; i < BACKOFF_KINDS; i++)
		if (t->pressure_fds[i] >= 0)
			fd_close(t->pressure_fds[i]);
	mutex_destroy(&t->lock);
	free(t);
}

void throttle_join(struct throttle *t)
{
	if (!t)
		return;
	auto_unlock pthread_mutex_t *held = mutex_hold(&t->lock);
	t->backoff.workers++;
}

void throttle_leave(struct throttle *t)
{
	if (!t)
		return;
	auto_unlock pthread_mutex_t *held = mutex_hold(&t->lock);
	t->backoff.workers--;
}

// How long @bytes take at the limit.
static uint64_t cost(const struct throttle *t, uint64_t bytes)
{
	double ns = (double)bytes / (double)t->limit * (double)SECOND;
	return ns < (double)FOR_EVER ? (uint64_t)ns : FOR_EVER;
}

// Until when the caller has to wait.
static uint64_t pay(struct throttle *t, uint64_t bytes)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&t->lock);
	uint64_t at = now(t), least = at > BURST ? at - BURST : 0;
	t->paid_at = (t->paid_at > least ? t->paid_at : least) + cost(t, bytes);
	if (t->paid_at > at + FOR_EVER)
		t->paid_at = at + FOR_EVER;
	return t->paid_at;
}

void throttle_return(struct throttle *t, uint64_t bytes)
{
	if (!t || t->limit == 0)
		return;
	auto_unlock pthread_mutex_t *held = mutex_hold(&t->lock);
	uint64_t back = cost(t, bytes);
	t->paid_at = t->paid_at > back ? t->paid_at - back : 0;
}

static void nap(const struct throttle *t, uint64_t till)
{
	uint64_t at = now(t);
	if (at < till)
		t->world.sleep(t->world.arg, till - at < NAP ? till - at : NAP);
}

static bool is_stopped(const struct throttle *t)
{
	return t->world.stopped(t->world.arg);
}

// Until when the caller has to wait now; 0: it may go on.
static uint64_t decide(struct throttle *t)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&t->lock);
	struct backoff *b = &t->backoff;
	struct backoff_pressure pressure;
	uint64_t at = now(t);

	if (backoff_due(b, at)) {
		if (t->world.pressure(t->world.arg, &pressure) < 0)
			return 0;
		backoff_step(b, at, &pressure);
	}
	atomic_store_explicit(&t->free_till, b->pausing ? 0 : b->until, memory_order_relaxed);
	return b->pausing ? b->until : 0;
}

static void count_waiting(struct throttle *t, int more)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&t->lock);
	t->backoff.waiting += (unsigned)more;
}

// Most calls find nothing to wait for, and take no lock.
bool throttle_is_free(const struct throttle *t)
{
	if (!t)
		return true;
	if (t->limit > 0)
		return false;
	return !t->back_off || now(t) < atomic_load_explicit(&t->free_till, memory_order_relaxed);
}

void throttle_owe(struct throttle *t, uint64_t bytes)
{
	if (t && t->limit > 0)
		pay(t, bytes);
}

// Until when the caller has to wait now, who has @paid for what it takes; 0: it may go on.
static uint64_t wait_till(struct throttle *t, uint64_t paid)
{
	if (now(t) < paid)
		return paid;
	return t->back_off ? decide(t) : 0;
}

void throttle_take(struct throttle *t, uint64_t bytes, void (*idle)(void *arg), void *arg)
{
	if (throttle_is_free(t))
		return;
	count_waiting(t, 1);
	uint64_t paid = t->limit > 0 ? pay(t, bytes) : 0, till;
	while (!is_stopped(t) && (till = wait_till(t, paid)) > 0) {
		if (idle)
			idle(arg);
		nap(t, till);
	}
	count_waiting(t, -1);
}
