// What an object is found to be: sound, damaged, or not to be told.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hashify/rehash.h"
#include "store/object.h"
#include "tests/support/fault.h"
#include "tests/support/pool.h"

static int rehash(const struct pool *p, const struct object_key *key, unsigned *damage)
{
	struct rehash *h;
	uint64_t read = 0;
	assert_int_equal(rehash_new(p->store, NULL, &h), 0);
	int r = rehash_object(h, key, damage, &read);
	rehash_free(h);
	return r;
}

static void a_sound_object_is_sound(void **state)
{
	struct pool *p = *state;
	unsigned damage = 77;
	put_old(p, "a/f", "content");
	struct object_key key = make_object(p, "a/f");

	assert_int_equal(rehash(p, &key, &damage), 0);
	assert_int_equal(damage, 0);
}

static void what_the_disk_has_lost_is_damage(void **state)
{
	static const struct {
		const char *call;
		int error;
	} lost[] = { { "pread", EIO },     { "pread", EUCLEAN }, { "pread", ENODATA }, { "openat", EIO },
		     { "fstat", EUCLEAN }, { "listxattr", EIO }, { "getxattr", EIO } };
	struct pool *p = *state;
	put_old(p, "a/f", "content");
	struct object_key key = make_object(p, "a/f");

	for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++) {
		unsigned damage = 0;
		fault_next(lost[i].call, lost[i].error);
		assert_int_equal(rehash(p, &key, &damage), 0);
		assert_int_equal(damage, DAMAGE_UNREADABLE);
		assert_true(fault_was_met());
	}
}

static void what_we_lack_is_no_damage(void **state)
{
	struct pool *p = *state;
	unsigned damage = 0;
	put_old(p, "a/f", "content");
	struct object_key key = make_object(p, "a/f");

	fault_next("openat", EMFILE);
	assert_int_equal(rehash(p, &key, &damage), -EMFILE);
	fault_next("listxattr", ENOMEM);
	assert_int_equal(rehash(p, &key, &damage), -ENOMEM);
	key.variant++;
	assert_int_equal(rehash(p, &key, &damage), -ENOENT);
}

static void all_damage_is_told_at_once(void **state)
{
	char words[DAMAGE_WORDS_SIZE];
	struct pool *p = *state;
	unsigned damage = 0;
	put_old(p, "a/f", "content");
	struct object_key key = make_object(p, "a/f");
	put(p->tree, "a/f", "CONTENT");  // in place, which moves the mtime

	assert_int_equal(rehash(p, &key, &damage), 0);
	assert_int_equal(damage, DAMAGE_METADATA | DAMAGE_CONTENT);
	damage_print(damage, words);
	assert_string_equal(words, "metadata, content");
	damage_print(DAMAGE_END - 1, words);
	assert_string_equal(words, "kind, size, metadata, mark, content, unreadable, disk");
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(a_sound_object_is_sound),
		in_pool(what_the_disk_has_lost_is_damage),
		in_pool(what_we_lack_is_no_damage),
		in_pool(all_damage_is_told_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
