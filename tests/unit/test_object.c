// Objects, their marks and names, and what makes two files the same.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/identity.h"
#include "store/mark.h"
#include "store/object.h"
#include "tests/support/fault.h"
#include "tests/support/pool.h"

static int is_link(const struct pool *p, const char *path)
{
	int fd = openat(p->tree->dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);

	int r = mark_is_link(p->store->marks, fd, &st);
	close(fd);
	return r;
}

static int has_true_mark(const struct pool *p, const char *path)
{
	struct digest digest;
	struct stat st = status(p->tree, path);
	int fd = open_read(p->tree, path);
	int r = mark_read(p->store->marks, fd, &st, &digest);

	close(fd);
	return r == -ENODATA ? 0 : r == 0 ? 1 : r;
}

static const char *mark_name(const struct pool *p)
{
	return p->store->marks == MARK_TRUSTED ? XATTR_MARK_TRUSTED : XATTR_MARK_USER;
}

static int adopt(const struct pool *p, const char *path, const struct object_key *key)
{
	struct stat st = status(p->tree, path);
	int fd = open_read(p->tree, path);
	int r = object_adopt(p->store, fd, &st, key);

	close(fd);
	return r;
}

static void run_shell(const struct pool *p, const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "cd %s && %s", p->tree->path, command);
	assert_int_equal(system(line), 0);
}

static void an_object_is_the_file_itself(void **state)
{
	struct pool *p = *state;
	struct stat st;
	put_old(p, "a/file", "hello");
	struct stat before = status(p->tree, "a/file");

	struct object_key key = make_object(p, "a/file");

	int fd = object_open(p->store, &key, &st);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(st.st_ino, before.st_ino);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(status(p->tree, "a/file").st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	assert_int_equal(is_link(p, "a/file"), 1);
}

static void who_does_not_own_an_object_opens_it_too(void **state)
{
	struct pool *p = *state;
	struct stat st;
	put_old(p, "a/file", "hello");
	struct object_key key = make_object(p, "a/file");

	fault_next("openat", EPERM);  // O_NOATIME is for the owner
	int fd = object_open(p->store, &key, &st);

	assert_true(fault_was_met());
	assert_true(fd >= 0);
	close(fd);
}

static void what_is_no_object_is_no_link(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/file", "hello");
	put_old(p, "a/own", "hello");
	assert_int_equal(linkat(p->tree->dir, "a/own", p->tree->dir, "a/own too", 0), 0);
	make_object(p, "a/file");

	assert_int_equal(is_link(p, "a"), 0);
	assert_int_equal(is_link(p, "a/own"), 0);
}

static void a_copy_of_an_object_is_not_one(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/file", "hello");
	make_object(p, "a/file");

	run_shell(p, "cp -a a/file a/copy");

	int fd = open_read(p->tree, "a/copy");
	assert_true(xattr_get(fd, mark_name(p), NULL, 0) > 0);
	close(fd);
	assert_int_equal(is_link(p, "a/copy"), 0);
	assert_int_equal(has_true_mark(p, "a/copy"), 0);
}

static void with_one_name_even_a_true_mark_makes_no_link(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/file", "hello");
	struct object_key key = make_object(p, "a/file");
	char path[OBJECT_PATH_SIZE];
	object_path_print(&key, path);

	assert_int_equal(unlinkat(p->store->dir, path, 0), 0);

	assert_int_equal(has_true_mark(p, "a/file"), 1);
	assert_int_equal(is_link(p, "a/file"), 0);
}

static void with_two_names_any_mark_makes_a_link_but_no_object(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/file", "hello");
	make_object(p, "a/file");

	run_shell(p, "mkdir b && ln a/file a/other && cp -a a/file a/other b");

	assert_int_equal(status(p->tree, "b/file").st_ino, status(p->tree, "b/other").st_ino);
	assert_int_equal(has_true_mark(p, "b/file"), 0);
	assert_int_equal(is_link(p, "b/file"), 1);
	int fd = open_read(p->tree, "b/file");
	assert_int_equal(xattr_set(fd, mark_name(p), "nonsense", 8, 0), 0);
	close(fd);
	assert_int_equal(is_link(p, "b/other"), 1);
}

static void the_mark_of_the_other_space_is_none(void **state)
{
	struct pool *p = *state;
	if (p->store->marks != MARK_TRUSTED)
		skip();
	put_old(p, "a/file", "hello");
	run_shell(p, "ln a/file a/other");
	struct stat st = status(p->tree, "a/file");
	int fd = open_read(p->tree, "a/file");

	assert_int_equal(mark_write(MARK_USER, fd, &st, (struct digest){ 1, 2 }), 0);  // as any user may

	assert_int_equal(is_link(p, "a/file"), 0);
	assert_int_equal(has_true_mark(p, "a/file"), 0);
	close(fd);
}

static void a_mark_is_true_only_if_every_byte_is(void **state)
{
	struct pool *p = *state;
	static const char digits[] = "0123456789abcdef0123456789abcdef";
	put(p->tree, "file", "hello");
	unsigned long long ino = status(p->tree, "file").st_ino;
	int fd = open_read(p->tree, "file");
	const struct {
		const char *format;
		int is_true;
	} marks[] = {
		{ "1 %llu %s", 1 },     { "2 %llu %s", 0 },
		{ "1 %llu1 %s", 0 },    { "1 %llu %sa", 0 },
		{ "1 %llu %.31s", 0 },  { "1 -%llu %s", 0 },
		{ "1  %llu %s", 0 },    { "1 %llu%s", 0 },
		{ "1 %llu %.31sX", 0 }, { "1 %llu %.31sA", 0 },
		{ "%llu %s", 0 },       { "", 0 },
		{ "1 %llu", 0 },        { "1 99999999999999999999%llu %s", 0 },
	};

	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		char text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
		int size = snprintf(text, sizeof(text), marks[i].format, ino, digits);
#pragma GCC diagnostic pop
		assert_int_equal(xattr_set(fd, mark_name(p), text, (size_t)size, 0), 0);
		assert_int_equal(has_true_mark(p, "file"), marks[i].is_true);
	}
	assert_int_equal(xattr_set(fd, mark_name(p), "1\0", 2, 0), 0);
	assert_int_equal(has_true_mark(p, "file"), 0);
	close(fd);
}

static void a_mark_removed_twice_is_fine(void **state)
{
	struct pool *p = *state;
	put(p->tree, "file", "hello");
	struct stat st = status(p->tree, "file");
	int fd = open_read(p->tree, "file");

	assert_int_equal(mark_write(p->store->marks, fd, &st, (struct digest){ 1, 2 }), 0);
	assert_int_equal(has_true_mark(p, "file"), 1);
	assert_int_equal(mark_remove(p->store->marks, fd), 0);
	assert_int_equal(mark_remove(p->store->marks, fd), 0);
	assert_int_equal(has_true_mark(p, "file"), 0);
	close(fd);
}

static void an_adoption_that_fails_takes_the_mark_back(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/file", "hello");
	put_old(p, "b/file", "hello");
	struct object_key key = make_object(p, "a/file");

	assert_int_equal(adopt(p, "b/file", &key), -EEXIST);
	assert_int_equal(has_true_mark(p, "b/file"), 0);

	key.variant = 1;
	fault_next("linkat", EXDEV);
	assert_int_equal(adopt(p, "b/file", &key), -EXDEV);
	assert_true(fault_was_met());
	assert_int_equal(has_true_mark(p, "b/file"), 0);

	assert_int_equal(adopt(p, "b/file", &key), 0);
	assert_int_equal(is_link(p, "b/file"), 1);
}

static void give_it_a_second_name(void *arg)
{
	const struct tree *t = arg;
	assert_int_equal(linkat(t->dir, "a/file", t->dir, "a/second", 0), 0);
}

static void a_file_that_gets_a_second_name_meanwhile_is_no_object(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/file", "hello");
	struct object_key key = key_of(p, "a/file");

	fault_before("linkat", 2, give_it_a_second_name, p->tree);  // the first finds no shard
	assert_int_equal(adopt(p, "a/file", &key), -ESTALE);

	assert_true(fault_was_met());
	assert_int_equal(status(p->tree, "a/file").st_nlink, 2);
	assert_int_equal(is_link(p, "a/file"), 0);
}

static void no_room_for_a_shard_is_told(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/file", "hello");
	struct object_key key = key_of(p, "a/file");

	fault_next("mkdirat", ENOSPC);
	assert_int_equal(adopt(p, "a/file", &key), -ENOSPC);
	assert_true(fault_was_met());
	assert_int_equal(has_true_mark(p, "a/file"), 0);
}

static void an_object_is_not_adopted_again_and_keeps_its_mark(void **state)
{
	struct pool *p = *state;
	put_old(p, "a/file", "hello");
	struct object_key key = make_object(p, "a/file");

	assert_int_equal(adopt(p, "a/file", &key), -ESTALE);
	assert_int_equal(is_link(p, "a/file"), 1);
}

static void what_only_has_an_object_s_name_is_refused(void **state)
{
	struct pool *p = *state;
	struct stat st;
	char path[OBJECT_PATH_SIZE + 8] = ".hash/";
	put_old(p, "a/file", "hello");
	struct object_key key = make_object(p, "a/file"), longer = key;
	object_path_print(&key, path + 6);

	longer.size++;
	assert_int_equal(object_open(p->store, &longer, &st), -ENOENT);
	int fd = open_read(p->tree, "a/file");
	assert_int_equal(mark_remove(p->store->marks, fd), 0);
	close(fd);
	assert_int_equal(object_open(p->store, &key, &st), -EBADMSG);

	assert_int_equal(unlinkat(p->tree->dir, path, 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", p->tree->dir, path), 0);
	assert_int_equal(object_open(p->store, &key, &st), -EBADMSG);

	assert_int_equal(unlinkat(p->tree->dir, path, 0), 0);
	assert_int_equal(mkfifoat(p->tree->dir, path, 0600), 0);
	assert_int_equal(object_open(p->store, &key, &st), -EBADMSG);
}

static void an_object_whose_size_lies_is_refused(void **state)
{
	struct pool *p = *state;
	struct stat st;
	put_old(p, "a/file", "hello");
	struct object_key key = make_object(p, "a/file");

	put(p->tree, "a/file", "hello, world");

	assert_int_equal(object_open(p->store, &key, &st), -EBADMSG);
}

struct seen {
	unsigned count;
	ino_t last;
	int answer;
};

static int see(const struct object_key *key, const struct stat *st, void *arg)
{
	struct seen *seen = arg;

	assert_true(key->size > 0);
	seen->count++;
	seen->last = st->st_ino;
	return seen->answer;
}

static void all_objects_are_listed_and_foreign_names_counted(void **state)
{
	struct pool *p = *state;
	struct seen seen = { 0 };
	uint64_t foreign = 0;
	char path[64], content[16];
	for (int i = 0; i < 50; i++) {
		snprintf(path, sizeof(path), "a/file%d", i);
		snprintf(content, sizeof(content), "%d", i);
		put_old(p, path, content);
		make_object(p, path);
	}
	struct object_key key = key_of(p, "a/file49");
	char name[OBJECT_NAME_SIZE];
	object_name_print(&key, name);
	put(p->tree, ".hash/objects/a file", "x");
	put(p->tree, ".hash/objects/000/nonsense", "x");
	snprintf(path, sizeof(path), ".hash/objects/%.3s0", name);
	mkdirat(p->tree->dir, path, 0700);
	char misplaced[200];
	snprintf(misplaced, sizeof(misplaced), "%s/%s", path, name);
	put(p->tree, misplaced, "49");

	assert_int_equal(object_each(p->store, true, see, &seen, &foreign), 0);
	assert_int_equal(seen.count, 50);
	assert_int_equal(foreign, 3);

	seen = (struct seen){ .answer = -EINTR };
	assert_int_equal(object_each(p->store, false, see, &seen, &foreign), -EINTR);
	assert_int_equal(seen.count, 1);
	assert_true(seen.last > 0);
}

// Identity

static bool same_identity(const struct pool *p, const char *a, const char *b)
{
	struct stat sa = status(p->tree, a), sb = status(p->tree, b);
	int fa = open_read(p->tree, a), fb = open_read(p->tree, b);
	int r = identity_same(fa, &sa, fb, &sb);

	assert_true(r >= 0);
	close(fa);
	close(fb);
	// What is equal has one digest; what is not has another, as far as a test can tell.
	assert_int_equal(key_of(p, a).identity == key_of(p, b).identity, r);
	return r;
}

static void identity_is_mode_owner_mtime_and_xattrs_and_nothing_else(void **state)
{
	struct pool *p = *state;
	struct tree *t = p->tree;
	const struct timespec other_ns[2] = { { 0, 0 }, { 1000000000, 123456788 } };
	put_old(p, "a", "hello");

	put_old(p, "b", "hello");
	assert_true(same_identity(p, "a", "b"));
	fchmodat(t->dir, "b", 0640, 0);
	assert_false(same_identity(p, "a", "b"));
	fchmodat(t->dir, "b", 0644, 0);
	assert_int_equal(utimensat(t->dir, "b", other_ns, 0), 0);
	assert_false(same_identity(p, "a", "b"));

	put_old(p, "b", "hello");
	if (geteuid() == 0) {
		assert_int_equal(fchownat(t->dir, "b", 1, 0, 0), 0);
		assert_false(same_identity(p, "a", "b"));
		assert_int_equal(fchownat(t->dir, "b", 0, 1, 0), 0);
		assert_false(same_identity(p, "a", "b"));
		assert_int_equal(fchownat(t->dir, "b", 0, 0, 0), 0);
	}
	assert_true(same_identity(p, "a", "b"));
}

static void xattrs_count_in_any_order_and_the_mark_does_not(void **state)
{
	struct pool *p = *state;
	put_old(p, "a", "hello");
	put_old(p, "b", "hello");
	int a = open_read(p->tree, "a"), b = open_read(p->tree, "b");
	struct stat st = status(p->tree, "a");

	assert_int_equal(xattr_set(a, "user.one", "1", 1, 0) | xattr_set(a, "user.two", "2", 1, 0), 0);
	assert_false(same_identity(p, "a", "b"));
	assert_int_equal(xattr_set(b, "user.two", "2", 1, 0) | xattr_set(b, "user.one", "", 0, 0), 0);
	assert_false(same_identity(p, "a", "b"));
	assert_int_equal(xattr_set(b, "user.one", "1", 1, 0), 0);
	assert_true(same_identity(p, "a", "b"));

	assert_int_equal(mark_write(p->store->marks, a, &st, (struct digest){ 1, 2 }), 0);
	assert_int_equal(xattr_set(b, XATTR_MARK_USER, "forged", 6, 0), 0);
	assert_true(same_identity(p, "a", "b"));
	close(a);
	close(b);
}

static void a_digest_is_the_same_in_pieces_and_another_with_another_seed(void **state)
{
	(void)state;
	static char data[300000];
	struct digest_stream *s = digest_stream_new(7);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7 + i / 256);

	for (size_t size = 0, piece = 1; size <= sizeof(data); size = size * 3 + 1, piece = piece * 2 + 1) {
		digest_stream_reset(s);
		for (size_t at = 0; at < size; at += piece)
			digest_stream_update(s, data + at, size - at < piece ? size - at : piece);
		struct digest whole = digest_of(7, data, size);
		assert_true(digest_equal(digest_stream_final(s), whole));
		assert_false(digest_equal(digest_of(8, data, size), whole));
	}
	digest_stream_free(s);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(an_object_is_the_file_itself),
		in_pool(who_does_not_own_an_object_opens_it_too),
		in_pool(what_is_no_object_is_no_link),
		in_pool(a_copy_of_an_object_is_not_one),
		in_pool(with_one_name_even_a_true_mark_makes_no_link),
		in_pool(with_two_names_any_mark_makes_a_link_but_no_object),
		in_pool(the_mark_of_the_other_space_is_none),
		in_pool(a_mark_is_true_only_if_every_byte_is),
		in_pool(a_mark_removed_twice_is_fine),
		in_pool(an_adoption_that_fails_takes_the_mark_back),
		in_pool(a_file_that_gets_a_second_name_meanwhile_is_no_object),
		in_pool(no_room_for_a_shard_is_told),
		in_pool(an_object_is_not_adopted_again_and_keeps_its_mark),
		in_pool(what_only_has_an_object_s_name_is_refused),
		in_pool(an_object_whose_size_lies_is_refused),
		in_pool(all_objects_are_listed_and_foreign_names_counted),
		in_pool(identity_is_mode_owner_mtime_and_xattrs_and_nothing_else),
		in_pool(xattrs_count_in_any_order_and_the_mark_does_not),
		cmocka_unit_test(a_digest_is_the_same_in_pieces_and_another_with_another_seed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
