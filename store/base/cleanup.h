// Release at the end of the scope, named at the point of acquisition:
//
//	auto_close int fd = open(…);     // closed unless handed on by take_fd(&fd)
//	auto_free char *s = strdup(…);   // freed unless handed on by s = NULL
//	auto_unlock pthread_mutex_t *held = mutex_hold(&n->lock);
#pragma once

#include <pthread.h>
#include <stdlib.h>

#include "store/base/fd.h"
#include "store/base/thread.h"

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		fd_close(*fd);
	*fd = -1;  // a member of what lives on
}

static inline void cleanup_unlock(pthread_mutex_t **m)
{
	if (*m)
		mutex_unlock(*m);
}

#define auto_free __attribute__((cleanup(cleanup_free)))
#define auto_close __attribute__((cleanup(cleanup_close)))
#define auto_unlock __attribute__((cleanup(cleanup_unlock)))

// Empties @fd and returns what it held: ownership moves to the caller.
static inline int take_fd(int *fd)
{
	int r = *fd;
	*fd = -1;
	return r;
}
