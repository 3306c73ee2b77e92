#include "fs/later.h"

#include <errno.h>
#include <signal.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "fs/break.h"
#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/opens.h"
#include "fs/ops.h"
#include "store/base/cleanup.h"

struct job {
	struct list item;  // in later.waiting
	fuse_req_t req;
	fuse_ino_t ino;
	later_handler *handler;
	bool may_wait;
	alignas(max_align_t) char args[];
};

void later_init(struct later *l)
{
	list_init(&l->waiting);
	cond_init(&l->added);
}

void later_destroy(struct later *l)
{
	cond_destroy(&l->added);
}

static void wake_all(struct hashfs *fs)
{
	cond_broadcast(&fs->later.added);
	cond_broadcast(&fs->break_done);
}

static bool is_served(const struct later *l, const struct node *n)
{
	for (unsigned i = 0; i < l->started; i++)
		if (l->threads[i].serves == n)
			return true;
	return false;
}

static bool has_room(const struct later *l)
{
	unsigned waiting = 0;
	for (unsigned i = 0; i < l->started; i++)
		waiting += l->threads[i].serves && l->threads[i].may_wait;
	return waiting < LATER_WAITING;
}

// Who waits for a break must not keep a thread from the next one. Until its reply the kernel keeps the node.
static struct job *next_job(struct hashfs *fs)
{
	bool room = has_room(&fs->later);

	list_each(p, &fs->later.waiting) {
		struct job *j = list_item(p, struct job, item);
		if (j->may_wait && !room)
			continue;
		const struct node *n = node_of(fs, j->ino);
		if (!n->breaking && !is_served(&fs->later, n))
			return j;
	}
	return NULL;
}

// NULL: it is over.
static struct job *take_job(struct later_thread *t)
{
	struct later *l = &t->fs->later;
	auto_unlock pthread_mutex_t *held = mutex_hold(&t->fs->break_lock);

	if (t->serves) {
		t->serves = NULL;
		cond_broadcast(&t->fs->break_done);
	}
	while (!l->ends) {
		struct job *j = next_job(t->fs);
		if (j) {
			list_remove(&j->item);
			t->serves = node_of(t->fs, j->ino);
			t->may_wait = j->may_wait;
			return j;
		}
		// While nothing waits, the many short breaks need not wake us.
		cond_wait(list_empty(&l->waiting) ? &l->added : &t->fs->break_done, &t->fs->break_lock);
	}
	return NULL;
}

static void *serve_all(void *arg)
{
	struct later_thread *t = arg;
	struct job *j;
	sigset_t all;

	sigfillset(&all);  // a signal would end a copy with EINTR
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	break_be_patient(true);
	while ((j = take_job(t))) {
		opens_may_wait(j->may_wait);
		j->handler(j->req, j->ino, j->args);
		free(j);
	}
	return NULL;
}

int later_start(struct hashfs *fs)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->break_lock);
	struct later *l = &fs->later;

	for (; l->started < LATER_THREADS; l->started++) {
		struct later_thread *t = &l->threads[l->started];
		t->fs = fs;
		int r = thread_start(&t->id, "break", serve_all, t);
		if (r < 0)
			return r;
	}
	return 0;
}

void later_stop(struct hashfs *fs)
{
	struct later *l = &fs->later;

	mutex_lock(&fs->break_lock);
	l->ends = true;
	wake_all(fs);
	mutex_unlock(&fs->break_lock);
	for (unsigned i = 0; i < l->started; i++)
		thread_join(l->threads[i].id);
	list_each(p, &l->waiting) {
		struct job *j = list_item(p, struct job, item);
		reply_err(j->req, -ENOTCONN);
		free(j);
	}
}

// libfuse 3.18 now and then loses a reply to io_uring that is not sent by the ring's own thread (its issue
// 1443), and at the end frees the rings without waiting for those that are still to come.
static bool is_bound_to_thread(fuse_req_t req)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	return fuse_req_is_uring(req);
#else
	(void)req;
	return false;
#endif
}

static void serve_here(fuse_req_t req, fuse_ino_t ino, later_handler *handler, const void *args)
{
	break_be_patient(true);
	opens_may_wait(true);
	handler(req, ino, args);
	opens_may_wait(false);
	break_be_patient(false);
}

void later_serve(fuse_req_t req, fuse_ino_t ino, later_handler *handler, const void *args, size_t size,
		 bool may_wait)
{
	struct hashfs *fs = fs_of(req);
	struct job *j = is_bound_to_thread(req) ? NULL : malloc(sizeof(*j) + size);
	if (!j) {
		serve_here(req, ino, handler, args);
		return;
	}

	j->req = req;
	j->ino = ino;
	j->handler = handler;
	j->may_wait = may_wait;
	memcpy(j->args, args, size);

	auto_unlock pthread_mutex_t *held = mutex_hold(&fs->break_lock);
	list_add_tail(&fs->later.waiting, &j->item);
	wake_all(fs);
}
