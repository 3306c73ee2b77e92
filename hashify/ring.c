#include "hashify/ring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

struct ring {
	struct io_uring uring;
};

struct ring *ring_new(unsigned depth)
{
	struct ring *r = malloc(sizeof(*r));
	if (r && io_uring_queue_init(depth, &r->uring, 0) < 0) {
		free(r);
		return NULL;
	}
	return r;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	io_uring_queue_exit(&r->uring);
	free(r);
}

static void put(struct ring *r, struct ring_read *read)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);
	io_uring_prep_read(sqe, read->fd, read->buffer, (unsigned)read->size, 0);
	sqe->rw_flags = RWF_NOWAIT;
	io_uring_sqe_set_data(sqe, read);
}

static int take(struct ring *r)
{
	struct io_uring_cqe *cqe;
	int err;
	while ((err = io_uring_wait_cqe(&r->uring, &cqe)) == -EINTR)
		;
	if (err < 0)
		return err;
	struct ring_read *read = io_uring_cqe_get_data(cqe);
	read->got = cqe->res;
	io_uring_cqe_seen(&r->uring, cqe);
	return 0;
}

int ring_read(struct ring *r, struct ring_read *reads, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		put(r, &reads[i]);
	int taken = io_uring_submit(&r->uring);
	int err = taken < 0 ? taken : 0;
	for (int i = 0; err == 0 && i < taken; i++)
		err = take(r);
	return err == 0 && (unsigned)taken < count ? -EIO : err;
}
