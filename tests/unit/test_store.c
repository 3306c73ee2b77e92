// The store as a whole: made whole or not at all, opened only if it is what we know, locked, found,
// registered.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/pool.h"
#include "store/registry.h"
#include "store/store.h"
#include "tests/support/fault.h"
#include "tests/support/tree.h"

static int opens(const struct tree *t)
{
	struct store *s = NULL;
	int r = store_open(t->dir, &s);

	store_close(s);
	return r;
}

static struct store *new_store(const struct tree *t)
{
	struct store *s = NULL;

	assert_int_equal(store_create(t->dir), 0);
	assert_int_equal(store_open(t->dir, &s), 0);
	return s;
}

static void a_new_store_can_be_opened_and_belongs_to_us_alone(void **state)
{
	struct tree *t = *state;
	store_close(new_store(t));

	assert_int_equal(status(t, ".hash").st_mode & 07777, 0700);
	assert_int_equal(store_create(t->dir), -EEXIST);
	assert_int_equal(opens(t), 0);
}

static void there_is_no_store_before_it_is_made(void **state)
{
	struct tree *t = *state;
	assert_int_equal(opens(t), -ENOENT);
}

static void making_fails_whole(void **state)
{
	struct tree *t = *state;
	static const char *const calls[] = { "mkdirat", "setxattr", "linkat", "fsync", "renameat2" };

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		fault_next(calls[i], EIO);
		int r = store_create(t->dir);

		// Marks in user. are tried where trusted. cannot be had.
		assert_true(fault_was_met());
		if (strcmp(calls[i], "setxattr") == 0) {
			assert_int_equal(r, 0);
			assert_int_equal(renameat(t->dir, ".hash", t->dir, "other"), 0);
			continue;
		}
		assert_int_equal(r, -EIO);
		assert_missing(t, ".hash");
		assert_int_equal(names_in(t, "."), i > 1);  // "other", from above
	}
	assert_int_equal(store_create(t->dir), 0);
}

static void what_a_crash_left_of_an_attempt_is_swept(void **state)
{
	struct tree *t = *state;
	put(t, ".hash.new-0123456789abcdef/format", "half");
	put(t, ".hash.new-somebody's/file", "own");

	assert_int_equal(store_create(t->dir), 0);

	assert_missing(t, ".hash.new-0123456789abcdef");
	assert_content(t, ".hash.new-somebody's/file", "own");
	assert_int_equal(opens(t), 0);
}

static void create_another(void *arg)
{
	const struct tree *t = arg;
	assert_int_equal(store_create(t->dir), 0);
}

static void of_two_that_make_one_at_once_the_faster_wins(void **state)
{
	struct tree *t = *state;
	static const char *const calls[] = { "mkdirat", "setxattr", "linkat", "fsync", "renameat2" };

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		fault_before(calls[i], 1, create_another, t);
		assert_int_equal(store_create(t->dir), -EEXIST);
		assert_true(fault_was_met());
		assert_int_equal(opens(t), 0);
		assert_int_equal(names_in(t, "."), i + 1);  // and nothing of an attempt
		char other[16];
		snprintf(other, sizeof(other), "other%zu", i);
		assert_int_equal(renameat(t->dir, ".hash", t->dir, other), 0);
	}
}

static void a_store_of_somebody_else_is_refused(void **state)
{
	struct tree *t = *state;
	store_close(new_store(t));
	if (fchownat(t->dir, ".hash", 12345, 12345, 0) < 0)
		skip();

	assert_int_equal(opens(t), -EPERM);
}

// Writes @text as the format file, with the right inode where it says so.
static void set_format(const struct tree *t, const char *text)
{
	char line[512];

	snprintf(line, sizeof(line), "%sinode %llu\n", text, (unsigned long long)status(t, ".hash").st_ino);
	put(t, ".hash/format", line);
}

#define GOOD "seed 0123456789abcdef\nidentity mode,uid,gid,mtime,xattr\nmarks user\n"

static void only_a_format_that_we_know_is_opened(void **state)
{
	struct tree *t = *state;
	store_close(new_store(t));

	set_format(t, "hashfs-store 1\ndigest xxh3-128\n" GOOD);
	assert_int_equal(opens(t), 0);
	set_format(t, "hashfs-store 2\ndigest xxh3-128\n" GOOD);
	assert_int_equal(opens(t), -EPROTONOSUPPORT);
	set_format(t, "hashfs-store 1\ndigest sha256\n" GOOD);
	assert_int_equal(opens(t), -EPROTONOSUPPORT);
	set_format(t, "hashfs-store 1\ndigest xxh3-128\nnew yes\n" GOOD);
	assert_int_equal(opens(t), -EPROTONOSUPPORT);
	set_format(t, "hashfs-store 1 \ndigest xxh3-128\n" GOOD);
	assert_int_equal(opens(t), -EBADMSG);
	put(t, ".hash/format", "");
	assert_int_equal(opens(t), -EBADMSG);
	put(t, ".hash/format", "\xff\xfe");
	assert_int_equal(opens(t), -EBADMSG);
}

static void write_format(const struct tree *t, const char *text, size_t size)
{
	int fd = openat(t->dir, ".hash/format", O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, text, size), size);
	close(fd);
}

static void a_format_with_one_byte_more_or_less_is_refused(void **state)
{
	struct tree *t = *state;
	store_close(new_store(t));
	char *good = content_of(t, ".hash/format");
	size_t size = strlen(good);
	char *text = calloc(1, size + 2);

	for (size_t i = 0; i < size; i++) {
		write_format(t, good, i);
		assert_true(opens(t) == -EBADMSG || opens(t) == -EPROTONOSUPPORT);
	}
	memcpy(text, good, size);
	for (int more = 0; more < 256; more++) {
		text[size] = (char)more;
		write_format(t, text, size + 1);
		assert_int_equal(opens(t), -EBADMSG);
	}
	write_format(t, good, size);
	assert_int_equal(opens(t), 0);
	free(text);
	free(good);
}

// What is opened has a format file that we would write: seed, space and inode are all that may differ.
static void a_store_that_lacks_a_part_is_refused(void **state)
{
	struct tree *t = *state;
	static const char *const parts[] = { "format", "tmp", "objects" };
	store_close(new_store(t));

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		char path[32];
		snprintf(path, sizeof(path), ".hash/%s", parts[i]);
		assert_int_equal(renameat(t->dir, path, t->dir, "away"), 0);
		assert_true(opens(t) < 0);
		assert_int_not_equal(opens(t), -ENOENT);  // which would mean that there is none
		assert_int_equal(symlinkat("../away", t->dir, path), 0);
		assert_true(opens(t) < 0);
		assert_int_equal(unlinkat(t->dir, path, 0), 0);
		assert_int_equal(renameat(t->dir, "away", t->dir, path), 0);
	}
	assert_int_equal(opens(t), 0);
}

static void a_damaged_format_is_refused_or_another_that_we_know(void **state)
{
	struct tree *t = *state;
	struct store *s = NULL;
	store_close(new_store(t));
	char *good = content_of(t, ".hash/format");
	size_t size = strlen(good);
	char *text = calloc(1, size);
	unsigned opened = 0;

	srandom(3);
	for (int i = 0; i < 5000; i++) {
		memcpy(text, good, size);
		for (long k = random() % 2; k >= 0; k--)
			text[(size_t)random() % size] = (char)random();
		write_format(t, text, size);
		int r = store_open(t->dir, &s);
		assert_true(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
		if (r < 0)
			continue;
		opened++;
		assert_int_equal(text[size - 1], '\n');
		assert_non_null(strstr(text, "\nidentity mode,uid,gid,mtime,xattr\nmarks "));
		store_close(s);
	}
	assert_true(opened > 0);  // in a digit of the seed or of the inode
	free(text);
	free(good);
}

static void a_store_that_others_may_write_to_or_a_link_to_one_is_refused(void **state)
{
	struct tree *t = *state;
	store_close(new_store(t));

	fchmodat(t->dir, ".hash", 0755, 0);
	assert_int_equal(opens(t), -EBADMSG);
	fchmodat(t->dir, ".hash", 0700, 0);
	assert_int_equal(renameat(t->dir, ".hash", t->dir, "elsewhere"), 0);
	assert_int_equal(symlinkat("elsewhere", t->dir, ".hash"), 0);
	assert_int_equal(opens(t), -EBADMSG);
}

// The store counts as copied until then.
static void renew_copied(const struct tree *t)
{
	struct store *s;

	assert_int_equal(store_open(t->dir, &s), 0);
	assert_true(s->copied);
	assert_int_equal(store_renew(s), 0);
	store_close(s);
	assert_int_equal(store_open(t->dir, &s), 0);
	assert_false(s->copied);
	store_close(s);
}

static void a_copied_store_is_known_as_one_until_it_is_renewed(void **state)
{
	struct tree *t = *state;
	struct store *s = new_store(t);
	assert_false(s->copied);
	store_close(s);

	char command[512];
	snprintf(command, sizeof(command), "cp -a %s/.hash %s/copy && rm -r %s/.hash && mv %s/copy %s/.hash",
		 t->path, t->path, t->path, t->path, t->path);
	assert_int_equal(system(command), 0);

	renew_copied(t);
}

// By what keeps no xattrs: over itself, or so that `.hash` happens to have the number that it had.
static void a_store_restored_without_its_marks_counts_as_copied(void **state)
{
	struct tree *t = *state;
	struct store *s = new_store(t);
	store_close(s);
	char *text = content_of(t, ".hash/format");
	assert_int_equal(unlinkat(t->dir, ".hash/format", 0), 0);
	put(t, ".hash/format", text);
	free(text);

	assert_int_equal(store_open(t->dir, &s), 0);
	assert_true(s->copied);
	fault_next("renameat", EIO);
	assert_int_equal(store_renew(s), -EIO);
	assert_true(fault_was_met());
	store_close(s);

	renew_copied(t);
}

static void a_pass_and_a_mount_exclude_each_other_and_mounts_do_not(void **state)
{
	struct tree *t = *state;
	struct store *a = new_store(t), *b = NULL;
	assert_int_equal(store_open(t->dir, &b), 0);

	assert_int_equal(store_lock(a, STORE_SHARED), 0);
	assert_int_equal(store_lock(b, STORE_EXCLUSIVE), -EWOULDBLOCK);
	assert_int_equal(store_lock(b, STORE_SHARED), 0);
	store_close(b);
	store_close(a);
	assert_int_equal(store_open(t->dir, &a), 0);
	assert_int_equal(store_lock(a, STORE_EXCLUSIVE), 0);
	store_close(a);
}

static void one_changes_the_store_at_a_time_and_mounts_may_be_there(void **state)
{
	struct tree *t = *state;
	struct store *a = new_store(t), *b = NULL, *mount = NULL;
	assert_int_equal(store_open(t->dir, &b), 0);
	assert_int_equal(store_open(t->dir, &mount), 0);

	assert_int_equal(store_lock(mount, STORE_SHARED), 0);
	assert_int_equal(store_lock_pass(a), 0);
	assert_int_equal(store_lock_pass(b), -EWOULDBLOCK);
	store_close(a);
	assert_int_equal(store_lock_pass(b), 0);
	store_close(b);
	store_close(mount);
}

static void a_store_without_the_second_lock_file_gets_it(void **state)
{
	struct tree *t = *state;
	struct store *s = new_store(t);
	assert_int_equal(unlinkat(s->dir, "pass", 0), 0);

	assert_int_equal(store_lock_pass(s), 0);
	assert_int_equal(faccessat(s->dir, "pass", F_OK, 0), 0);
	store_close(s);
}

static void a_pool_is_found_from_inside_and_no_guest_can_plant_one(void **state)
{
	struct tree *t = *state;
	char path[128], *found = NULL;
	store_close(new_store(t));
	put(t, "guest/etc/file", "x");
	put(t, "guest/.hash/format", "hashfs-store 1\n");

	snprintf(path, sizeof(path), "%s/guest/etc", t->path);
	int fd = pool_find(path, &found);

	assert_true(fd >= 0);
	assert_string_equal(found, t->path);
	free(found);
	close(fd);
	assert_int_equal(pool_find("/nonexistent/directory", NULL), -ENOENT);
	assert_int_equal(pool_find("/proc/self", NULL), -ENODATA);
}

static void only_one_mount_serves_a_tree(void **state)
{
	struct tree *t = *state;
	struct store *s = new_store(t);
	struct registration other = { 0 };

	int web1 = registry_add(s, "/v/web1", "/srv/new\nline\\", &other);
	assert_true(web1 >= 0);
	int web10 = registry_add(s, "/v/web10", "/srv/web10", &other);
	assert_true(web10 >= 0);  // a longer name is no part of the tree

	static const char *const overlapping[] = { "/v/web1", "/v", "/", "/v/web1/usr" };
	for (size_t i = 0; i < sizeof(overlapping) / sizeof(*overlapping); i++)
		assert_int_equal(registry_add(s, overlapping[i], "/mnt", &other), -EBUSY),
			registration_free(&other);
	assert_int_equal(registry_add(s, "/v/web1", "/mnt", &other), -EBUSY);
	assert_string_equal(other.mountpoint, "/srv/new\nline\\");
	assert_int_equal(other.pid, getpid());
	registration_free(&other);

	registry_remove(s, web1);
	web1 = registry_add(s, "/v/web1", "/mnt", &other);
	assert_true(web1 >= 0);
	registry_remove(s, web1);
	registry_remove(s, web10);
	store_close(s);
}

// An error of asking is no answer.
static void a_mount_of_which_we_cannot_tell_is_taken_for_live(void **state)
{
	struct tree *t = *state;
	struct store *s = new_store(t);
	struct registration other = { 0 };
	int fd = registry_add(s, "/v/web1", "/mnt", &other);
	assert_true(fd >= 0);

	fault_nth("flock", 2, ENOLCK);  // the first locks the directory
	assert_int_equal(registry_add(s, "/v/web1", "/mnt", &other), -EBUSY);
	assert_true(fault_was_met());

	registration_free(&other);
	assert_int_equal(names_in(t, ".hash/mounts"), 1);
	registry_remove(s, fd);
	store_close(s);
}

static int count(const struct registration *r, void *arg)
{
	unsigned *n = arg;

	assert_string_equal(r->source, "/v/a \\n\nb");
	assert_string_equal(r->mountpoint, "\\");
	return (int)++*n;
}

static void live_mounts_are_listed_until_an_answer(void **state)
{
	struct tree *t = *state;
	struct store *s = new_store(t);
	struct registration other = { 0 };
	unsigned n = 0;
	assert_int_equal(registry_each(s, count, &n), 0);

	int fd = registry_add(s, "/v/a \\n\nb", "\\", &other);
	assert_true(fd >= 0);
	assert_int_equal(registry_each(s, count, &n), 1);
	registry_remove(s, fd);

	assert_int_equal(registry_each(s, count, &n), 0);
	assert_int_equal(names_in(t, ".hash/mounts"), 0);
	store_close(s);
}

static void a_mount_that_died_is_forgotten(void **state)
{
	struct tree *t = *state;
	struct store *s = new_store(t);
	struct registration other = { 0 };

	pid_t child = fork();
	if (child == 0)
		_exit(registry_add(s, "/v/web1", "/mnt", &other) < 0);  // without registry_remove()
	int status_;
	assert_int_equal(waitpid(child, &status_, 0), child);
	assert_int_equal(status_, 0);

	int fd = registry_add(s, "/v/web1", "/mnt", &other);
	assert_true(fd >= 0);
	assert_int_equal(names_in(t, ".hash/mounts"), 1);
	registry_remove(s, fd);
	store_close(s);
}

#define in_tree(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_tree(a_new_store_can_be_opened_and_belongs_to_us_alone),
		in_tree(there_is_no_store_before_it_is_made),
		in_tree(making_fails_whole),
		in_tree(what_a_crash_left_of_an_attempt_is_swept),
		in_tree(of_two_that_make_one_at_once_the_faster_wins),
		in_tree(a_store_of_somebody_else_is_refused),
		in_tree(only_a_format_that_we_know_is_opened),
		in_tree(a_format_with_one_byte_more_or_less_is_refused),
		in_tree(a_store_that_lacks_a_part_is_refused),
		in_tree(a_damaged_format_is_refused_or_another_that_we_know),
		in_tree(a_store_that_others_may_write_to_or_a_link_to_one_is_refused),
		in_tree(a_copied_store_is_known_as_one_until_it_is_renewed),
		in_tree(a_store_restored_without_its_marks_counts_as_copied),
		in_tree(a_pass_and_a_mount_exclude_each_other_and_mounts_do_not),
		in_tree(one_changes_the_store_at_a_time_and_mounts_may_be_there),
		in_tree(a_store_without_the_second_lock_file_gets_it),
		in_tree(a_pool_is_found_from_inside_and_no_guest_can_plant_one),
		in_tree(only_one_mount_serves_a_tree),
		in_tree(a_mount_of_which_we_cannot_tell_is_taken_for_live),
		in_tree(live_mounts_are_listed_until_an_answer),
		in_tree(a_mount_that_died_is_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
