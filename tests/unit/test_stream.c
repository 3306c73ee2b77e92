// Streams of directories: however many are open, those used last alone hold descriptors, and each of them
// shows every name once.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/stream.h"
#include "store/base/cleanup.h"
#include "tests/support/tree.h"

#define NAMES 40
#define STREAMS (STREAMS_KEPT + 60)
#define THREADS 6

struct reader {
	struct dir_stream *stream;
	off_t offset;
	int seen[NAMES];
};

struct world {
	struct tree *tree;
	struct hashfs fs;
	struct node node;
	struct reader readers[STREAMS];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char name[8];

	tree_setup((void **)&w->tree);
	*state = w;
	for (int i = 0; i < NODE_LOCKS; i++)
		mutex_init(&w->fs.node_locks[i]);
	streams_init(&w->fs.streams);
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "%d", i);
		put(w->tree, name, "");
	}
	w->node.type = S_IFDIR;
	w->node.at.fd = openat(w->tree->dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(w->node.at.fd >= 0);
	for (int i = 0; i < STREAMS; i++)
		w->readers[i].stream = stream_new();
	return 0;
}

static void close_streams(struct world *w)
{
	for (int i = 0; i < STREAMS; i++) {
		if (w->readers[i].stream)
			stream_free(&w->fs.streams, w->readers[i].stream);
		w->readers[i].stream = NULL;
	}
}

static int teardown(void **state)
{
	struct world *w = *state;

	close_streams(w);
	streams_destroy(&w->fs.streams);
	handle_close(&w->node.at);
	int leaked = tree_teardown((void **)&w->tree);
	free(w);
	return leaked;
}

static int descriptors(const struct world *w)
{
	return (int)names_in(w->tree, "/proc/self/fd");
}

// One request, which is replied with @count names at most. Returns how many there were, or -errno.
static int read_names(struct world *w, struct reader *r, int count)
{
	int got = 0, more;

	stream_take(&w->fs.streams, r->stream);
	more = stream_seek(&w->fs, &w->node, r->stream, r->offset);
	if (more == 0)
		while (got < count && (more = stream_peek(r->stream)) > 0) {
			const char *name = r->stream->next->d_name;
			if (*name != '.')
				r->seen[atoi(name)]++;
			stream_advance(r->stream);
			got++;
		}
	r->offset = r->stream->offset;
	stream_keep(&w->fs.streams, r->stream);
	return more < 0 ? more : got;
}

static bool has_seen_all_once(const struct reader *r)
{
	for (int i = 0; i < NAMES; i++)
		if (r->seen[i] != 1)
			return false;
	return true;
}

static void each_goes_on_where_it_was(void **state)
{
	struct world *w = *state;

	for (int more = 1; more;) {
		more = 0;
		for (int i = 0; i < STREAMS; i++)
			more |= read_names(w, &w->readers[i], 1 + i % 9);
	}

	for (int i = 0; i < STREAMS; i++)
		assert_true(has_seen_all_once(&w->readers[i]));
}

static void those_used_last_alone_hold_a_descriptor(void **state)
{
	struct world *w = *state;
	int before = descriptors(w);

	for (int i = 0; i < STREAMS; i++)
		assert_int_equal(read_names(w, &w->readers[i], 3), 3);
	assert_int_equal(descriptors(w), before + STREAMS_KEPT);

	for (int i = 0; i < STREAMS; i++)
		assert_int_equal(w->readers[i].stream->held.dir != NULL, i >= STREAMS - STREAMS_KEPT);
	close_streams(w);
	assert_int_equal(descriptors(w), before);
}

static void who_begins_anew_sees_all_anew(void **state)
{
	struct world *w = *state;
	struct reader *r = &w->readers[0];

	read_names(w, r, NAMES / 2);
	for (int i = 1; i < STREAMS; i++)  // it may have been dropped or not
		read_names(w, &w->readers[i], 1);
	for (int i = 0; i < 2; i++) {
		*r = (struct reader){ .stream = r->stream };
		assert_int_equal(read_names(w, r, 2 * NAMES), NAMES + 2);
		assert_true(has_seen_all_once(r));
	}
}

static void one_that_cannot_be_opened_is_an_error(void **state)
{
	struct world *w = *state;
	struct handle at = w->node.at;

	w->node.at.fd = 1 << 20;
	for (int i = 0; i < 2; i++)
		assert_int_equal(read_names(w, &w->readers[0], 1), -ENOENT);
	assert_int_equal(w->fs.streams.count, 0);
	w->node.at = at;
}

struct client {
	struct world *world;
	int first;
};

static void *read_every_sixth(void *arg)
{
	struct client *c = arg;

	for (int more = 1; more;) {
		more = 0;
		for (int i = c->first; i < STREAMS; i += THREADS)
			more |= read_names(c->world, &c->world->readers[i], 7);
	}
	return NULL;
}

static void threads_drop_what_others_read_and_nobody_notices(void **state)
{
	struct world *w = *state;
	pthread_t threads[THREADS];
	struct client clients[THREADS];

	int before = descriptors(w);
	for (int i = 0; i < THREADS; i++) {
		clients[i] = (struct client){ w, i };
		assert_int_equal(pthread_create(&threads[i], NULL, read_every_sixth, &clients[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);

	for (int i = 0; i < STREAMS; i++)
		assert_true(has_seen_all_once(&w->readers[i]));
	assert_int_equal(descriptors(w), before + STREAMS_KEPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_goes_on_where_it_was, setup, teardown),
		cmocka_unit_test_setup_teardown(those_used_last_alone_hold_a_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(who_begins_anew_sees_all_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_cannot_be_opened_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_drop_what_others_read_and_nobody_notices, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
