// Whatever is asked of a node whose descriptors read an object, nobody gets that for writing.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/backing.h"
#include "fs/hashfs.h"
#include "fs/node.h"
#include "store/base/cleanup.h"
#include "tests/support/tree.h"

struct world {
	struct tree *tree;
	struct hashfs fs;
	struct node node;
	struct backing object;
};

static struct handle handle_of(const struct world *w, const char *name)
{
	struct stat st = status(w->tree, name);
	int fd = openat(w->tree->dir, name, O_PATH | O_CLOEXEC);

	assert_true(fd >= 0);
	return (struct handle){ .ino = st.st_ino, .dev = st.st_dev, .fd = fd };
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	tree_setup((void **)&w->tree);
	*state = w;
	for (int i = 0; i < NODE_LOCKS; i++)
		mutex_init(&w->fs.node_locks[i]);
	put(w->tree, "private", "private");
	put(w->tree, "object", "object");
	w->object.at = handle_of(w, "object");
	w->node = (struct node){ .opens = 1, .mode = IO_PASSTHROUGH, .backing = &w->object };
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	handle_close(&w->node.at);
	handle_close(&w->object.at);
	int leaked = tree_teardown((void **)&w->tree);
	free(w);
	return leaked;
}

static void assert_reads(struct world *w, const char *content)
{
	char buf[16] = { 0 };
	auto_close int fd = node_open_for_descriptor(&w->fs, &w->node, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, buf, sizeof(buf) - 1), strlen(content));
	assert_string_equal(buf, content);
}

static void assert_busy_for_writing(struct world *w)
{
	assert_int_equal(node_open_for_descriptor(&w->fs, &w->node, O_WRONLY), -EBUSY);
	assert_int_equal(node_open_for_descriptor(&w->fs, &w->node, O_WRONLY | O_APPEND), -EBUSY);
	assert_int_equal(node_open_for_descriptor(&w->fs, &w->node, O_RDWR), -EBUSY);
}

static void descriptors_of_a_split_node_only_read(void **state)
{
	struct world *w = *state;
	w->node.at = handle_of(w, "private");

	assert_reads(w, "object");
	assert_busy_for_writing(w);
}

static void descriptors_of_a_link_only_read(void **state)
{
	struct world *w = *state;
	w->node.at = handle_of(w, "object");
	w->node.link = true;

	assert_reads(w, "object");
	assert_busy_for_writing(w);
}

static void descriptors_of_a_private_file_write(void **state)
{
	struct world *w = *state;
	w->node.at = handle_of(w, "private");
	w->node.backing = NULL;
	w->node.mode = IO_CACHED;

	auto_close int fd = node_open_for_descriptor(&w->fs, &w->node, O_WRONLY | O_APPEND);

	assert_int_equal(write(fd, "!", 1), 1);
	assert_reads(w, "private!");
}

#define in_world(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_world(descriptors_of_a_split_node_only_read),
		in_world(descriptors_of_a_link_only_read),
		in_world(descriptors_of_a_private_file_write),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
