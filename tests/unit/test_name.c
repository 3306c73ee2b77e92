#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/name.h"

static const char example[] = "3f2a77c0d41be8950c6b8e2f9a01d344-1a40-9be02d6a11c2f0d7-0";

static void a_name_is_parsed_to_what_was_printed(void **state)
{
	(void)state;
	struct object_key keys[] = {
		{ { 0x3f2a77c0d41be895, 0x0c6b8e2f9a01d344 }, 0x1a40, 0x9be02d6a11c2f0d7, 0 },
		{ { 0, 0 }, 0, 0, 0 },
		{ { UINT64_MAX, UINT64_MAX }, UINT64_MAX, UINT64_MAX, UINT32_MAX },
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		char name[OBJECT_NAME_SIZE];
		struct object_key back;

		object_name_print(&keys[i], name);
		assert_int_equal(object_name_parse(name, &back), 0);
		assert_true(digest_equal(keys[i].digest, back.digest));
		assert_int_equal(keys[i].size, back.size);
		assert_int_equal(keys[i].identity, back.identity);
		assert_int_equal(keys[i].variant, back.variant);
	}
}

static void the_format_is_the_documented_one(void **state)
{
	(void)state;
	struct object_key key = { { 0x3f2a77c0d41be895, 0x0c6b8e2f9a01d344 }, 0x1a40, 0x9be02d6a11c2f0d7, 0 };
	char path[OBJECT_PATH_SIZE], expected[OBJECT_PATH_SIZE] = "objects/3f2/";

	object_path_print(&key, path);

	assert_string_equal(path, strcat(expected, example));
}

static void anything_else_is_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"",
		"x",
		"3F2A77C0D41BE8950C6B8E2F9A01D344-1a40-9be02d6a11c2f0d7-0",
		"3f2a77c0d41be8950c6b8e2f9a01d34-1a40-9be02d6a11c2f0d7-0",
		"3f2a77c0d41be8950c6b8e2f9a01d344-01a40-9be02d6a11c2f0d7-0",
		"3f2a77c0d41be8950c6b8e2f9a01d344-1a40-9be02d6a11c2f0d7-00",
		"3f2a77c0d41be8950c6b8e2f9a01d344-1a40-9be02d6a11c2f0d7-",
		"3f2a77c0d41be8950c6b8e2f9a01d344-1a40-9be02d6a11c2f0d7-0 ",
		"3f2a77c0d41be8950c6b8e2f9a01d344-1a40-9be02d6a11c2f0d7-100000000",
		"3f2a77c0d41be8950c6b8e2f9a01d344-10000000000000000-9be02d6a11c2f0d7-0",
		"3f2a77c0d41be8950c6b8e2f9a01d344--9be02d6a11c2f0d7-0",
	};
	struct object_key key;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(object_name_parse(wrong[i], &key), -EINVAL);
}

// Whatever bytes come, what is accepted is printed back as it was.
static void a_damaged_name_is_another_name_or_none(void **state)
{
	(void)state;
	srandom(1);
	for (int i = 0; i < 200000; i++) {
		char name[sizeof(example)], again[OBJECT_NAME_SIZE];
		struct object_key key;

		memcpy(name, example, sizeof(name));
		for (long k = random() % 3; k >= 0; k--)
			name[(size_t)random() % (sizeof(name) - 1)] = (char)(random() % 255 + 1);
		if (object_name_parse(name, &key) < 0)
			continue;
		object_name_print(&key, again);
		assert_string_equal(again, name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_parsed_to_what_was_printed),
		cmocka_unit_test(the_format_is_the_documented_one),
		cmocka_unit_test(anything_else_is_refused),
		cmocka_unit_test(a_damaged_name_is_another_name_or_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
