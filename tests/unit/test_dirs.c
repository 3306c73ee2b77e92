// Directories that are kept open: each request gets the one it asks for, whatever others ask for meanwhile,
// and nothing stays open but the few that are kept.
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
#include "store/base/cleanup.h"
#include "tests/support/tree.h"

#define DIRECTORIES 12
#define THREADS 8
#define ROUNDS 4000

struct world {
	struct tree *tree;
	struct hashfs fs;
	struct node nodes[DIRECTORIES];
};

static void make_node(struct world *w, struct node *n)
{
	char name[16];
	struct stat st;

	snprintf(name, sizeof(name), "%d", (int)(n - w->nodes));
	assert_int_equal(mkdirat(w->tree->dir, name, 0700), 0);
	st = status(w->tree, name);
	n->type = S_IFDIR;
	n->at = (struct handle){ .ino = st.st_ino, .dev = st.st_dev };
	n->at.fd = openat(w->tree->dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(n->at.fd >= 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	tree_setup((void **)&w->tree);
	*state = w;
	for (int i = 0; i < NODE_LOCKS; i++)
		mutex_init(&w->fs.node_locks[i]);
	dirs_init(&w->fs.dirs);
	for (int i = 0; i < DIRECTORIES; i++)
		make_node(w, &w->nodes[i]);
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	dirs_destroy(&w->fs.dirs);
	for (int i = 0; i < DIRECTORIES; i++)
		handle_close(&w->nodes[i].at);
	int leaked = tree_teardown((void **)&w->tree);
	free(w);
	return leaked;
}

static int descriptors(const struct world *w)
{
	return (int)names_in(w->tree, "/proc/self/fd");
}

static void assert_is(const struct open_dir *dir, const struct node *n)
{
	struct stat st;

	assert_true(dir->fd >= 0);
	assert_int_equal(fstat(dir->fd, &st), 0);
	assert_int_equal(st.st_ino, n->at.ino);
}

static void one_is_kept_open(void **state)
{
	struct world *w = *state;

	struct open_dir first = dirs_open(&w->fs, &w->nodes[0]);
	struct open_dir beside = dirs_open(&w->fs, &w->nodes[0]);
	assert_is(&first, &w->nodes[0]);
	assert_int_equal(beside.fd, first.fd);
	dirs_close(&first);
	assert_is(&beside, &w->nodes[0]);
	dirs_close(&beside);

	struct open_dir again = dirs_open(&w->fs, &w->nodes[0]);
	assert_int_equal(again.fd, first.fd);
	dirs_close(&again);
}

static void more_than_can_be_kept_are_closed(void **state)
{
	struct world *w = *state;
	struct open_dir open[DIRECTORIES];

	int before = descriptors(w);
	for (int i = 0; i < DIRECTORIES; i++)
		open[i] = dirs_open(&w->fs, &w->nodes[i]);
	for (int i = 0; i < DIRECTORIES; i++)
		assert_is(&open[i], &w->nodes[i]);
	for (int i = 0; i < DIRECTORIES; i++)
		dirs_close(&open[i]);
	assert_int_equal(descriptors(w), before + DIRS_KEPT);

	for (int i = 0; i < DIRECTORIES; i++) {
		auto_dir struct open_dir dir = dirs_open(&w->fs, &w->nodes[i]);
		assert_is(&dir, &w->nodes[i]);
	}
	assert_int_equal(descriptors(w), before + DIRS_KEPT);
}

static void what_is_forgotten_is_closed(void **state)
{
	struct world *w = *state;

	int before = descriptors(w);
	struct open_dir dir = dirs_open(&w->fs, &w->nodes[0]);
	dirs_close(&dir);
	assert_int_equal(descriptors(w), before + 1);
	dirs_forget(&w->fs, &w->nodes[0]);
	assert_int_equal(descriptors(w), before);

	// Another directory's node may come to be where that one was.
	handle_close(&w->nodes[0].at);
	w->nodes[0].at = w->nodes[1].at;
	w->nodes[1].at = HANDLE_NONE;
	dir = dirs_open(&w->fs, &w->nodes[0]);
	assert_is(&dir, &w->nodes[0]);
	dirs_close(&dir);
}

static void one_that_cannot_be_opened_is_an_error(void **state)
{
	struct world *w = *state;
	struct node gone = { .type = S_IFDIR, .at = { .fd = 1 << 20 } };

	for (int i = 0; i < 2; i++) {
		auto_dir struct open_dir dir = dirs_open(&w->fs, &gone);
		assert_int_equal(dir.fd, -EBADF);
	}
}

struct client {
	struct world *world;
	unsigned seed;
	int wrong;
};

static void *ask(void *arg)
{
	struct client *c = arg;

	for (int i = 0; i < ROUNDS; i++) {
		struct node *n = &c->world->nodes[(unsigned)rand_r(&c->seed) % DIRECTORIES];
		auto_dir struct open_dir dir = dirs_open(&c->world->fs, n);
		struct stat st;

		c->wrong += fstat(dir.fd, &st) < 0 || st.st_ino != n->at.ino;
	}
	return NULL;
}

static void threads_get_what_they_ask_for(void **state)
{
	struct world *w = *state;
	pthread_t threads[THREADS];
	struct client clients[THREADS];

	int before = descriptors(w);
	for (unsigned i = 0; i < THREADS; i++) {
		clients[i] = (struct client){ .world = w, .seed = i };
		assert_int_equal(pthread_create(&threads[i], NULL, ask, &clients[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(clients[i].wrong, 0);
	}
	assert_true(descriptors(w) <= before + DIRS_KEPT);
	for (int i = 0; i < DIRECTORIES; i++)
		dirs_forget(&w->fs, &w->nodes[i]);
	assert_int_equal(descriptors(w), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_is_kept_open, setup, teardown),
		cmocka_unit_test_setup_teardown(more_than_can_be_kept_are_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_forgotten_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_cannot_be_opened_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_get_what_they_ask_for, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
