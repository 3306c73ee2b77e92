// Threads and locks that abort on misuse: a failing lock is our own mistake, never an input.
#pragma once

#include <pthread.h>

void mutex_init(pthread_mutex_t *m);
void mutex_destroy(pthread_mutex_t *m);
void mutex_lock(pthread_mutex_t *m);
void mutex_unlock(pthread_mutex_t *m);

// Locks @m and returns it, for auto_unlock.
pthread_mutex_t *mutex_hold(pthread_mutex_t *m);

void cond_init(pthread_cond_t *c);
void cond_destroy(pthread_cond_t *c);
void cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
void cond_broadcast(pthread_cond_t *c);

// Starts @run(@arg) as a thread that is called @name (15 bytes at most are shown). Whoever starts it joins
// it. -EAGAIN: no more threads.
int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg);
void thread_join(pthread_t t);
