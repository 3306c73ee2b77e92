#include "store/base/thread.h"

#include <assert.h>

void mutex_init(pthread_mutex_t *m)
{
	int r = pthread_mutex_init(m, NULL);
	assert(r == 0);
}

void mutex_destroy(pthread_mutex_t *m)
{
	int r = pthread_mutex_destroy(m);
	assert(r == 0);
}

void mutex_lock(pthread_mutex_t *m)
{
	int r = pthread_mutex_lock(m);
	assert(r == 0);
}

void mutex_unlock(pthread_mutex_t *m)
{
	int r = pthread_mutex_unlock(m);
	assert(r == 0);
}

pthread_mutex_t *mutex_hold(pthread_mutex_t *m)
{
	mutex_lock(m);
	return m;
}

void cond_init(pthread_cond_t *c)
{
	int r = pthread_cond_init(c, NULL);
	assert(r == 0);
}

void cond_destroy(pthread_cond_t *c)
{
	int r = pthread_cond_destroy(c);
	assert(r == 0);
}

void cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	int r = pthread_cond_wait(c, m);
	assert(r == 0);
}

void cond_broadcast(pthread_cond_t *c)
{
	int r = pthread_cond_broadcast(c);
	assert(r == 0);
}

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg)
{
	int r = pthread_create(ret, NULL, run, arg);
	if (r != 0)
		return -r;

	char shown[16] = { 0 };
	for (unsigned i = 0; i < sizeof(shown) - 1 && name[i]; i++)
		shown[i] = name[i];
	pthread_setname_np(*ret, shown);
	return 0;
}

void thread_join(pthread_t t)
{
	int r = pthread_join(t, NULL);
	assert(r == 0);
}
