// Nodes that a newer one for the same file has replaced: told from others as long as they live, and at no
// cost to who looks something else up.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "fs/hashfs.h"
#include "fs/node.h"
#include "fs/table.h"
#include "store/base/clock.h"

#define MANY 30000
#define SECOND (1000 * 1000 * INT64_C(1000))

struct world {
	struct hashfs fs;
	struct node nodes[MANY];
};

static struct handle inode(uint64_t ino, unsigned char generation)
{
	return (struct handle){ .ino = ino, .bytes = { generation }, .fd = -1, .size = 1 };
}

static void retire(struct world *w, struct node *n, struct handle at)
{
	n->at = at;
	list_init(&n->detached);
	assert_int_equal(map_reserve(&w->fs.nodes), 0);
	table_attach(&w->fs, n, at.ino);
	assert_int_equal(map_reserve(&w->fs.retired), 0);
	table_retire(&w->fs, n);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	if (!w)
		return -1;
	list_init(&w->fs.detached);
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	map_free(&w->fs.nodes);
	map_free(&w->fs.retired);
	free(w);
	return 0;
}

static bool is_retired(const struct world *w, struct handle at)
{
	return table_is_retired(&w->fs, &at);
}

static void a_retired_node_is_not_found_and_its_file_is_known(void **state)
{
	struct world *w = *state;
	struct handle at = inode(7, 1);

	retire(w, &w->nodes[0], at);

	assert_null(table_find_inode(&w->fs, &at));
	assert_true(is_retired(w, at));
	assert_false(is_retired(w, inode(7, 2)));  // a new file that got the number
	assert_false(is_retired(w, inode(8, 1)));
}

static void a_file_is_retired_until_the_last_of_its_nodes_goes(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 3; i++)
		retire(w, &w->nodes[i], inode(7, 1));
	for (int i = 0; i < 3; i++) {
		assert_true(is_retired(w, inode(7, 1)));
		table_remove(&w->fs, &w->nodes[i]);
	}
	assert_false(is_retired(w, inode(7, 1)));
}

static void one_that_only_lost_its_name_is_not_retired(void **state)
{
	struct world *w = *state;
	struct node *n = &w->nodes[0];

	retire(w, &w->nodes[1], inode(7, 2));
	n->at = inode(7, 1);
	list_init(&n->detached);
	assert_int_equal(map_reserve(&w->fs.nodes), 0);
	table_attach(&w->fs, n, 7);
	table_detach(&w->fs, n);

	assert_false(is_retired(w, inode(7, 1)));
	table_remove(&w->fs, n);
	assert_true(is_retired(w, inode(7, 2)));
}

static void look_ups_are_as_fast_among_many_that_are_retired(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < MANY; i++)
		retire(w, &w->nodes[i], inode(i, 1));

	int64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned i = 0; i < MANY; i++)
		assert_false(is_retired(w, inode(MANY + i, 1)));
	assert_true(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start < SECOND / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_retired_node_is_not_found_and_its_file_is_known, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_file_is_retired_until_the_last_of_its_nodes_goes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(one_that_only_lost_its_name_is_not_retired, setup, teardown),
		cmocka_unit_test_setup_teardown(look_ups_are_as_fast_among_many_that_are_retired, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
