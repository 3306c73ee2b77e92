#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hashify/text.h"

#include <errno.h>

static void a_size_is_a_number_and_a_binary_unit(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int r;
		uint64_t value;
	} rows[] = {
		{ "0", -EINVAL, 7 },
		{ "0K", -EINVAL, 7 },
		{ "017", 0, 17 },
		{ "1K", 0, 1024 },
		{ "3M", 0, 3 << 20 },
		{ "5G", 0, UINT64_C(5) << 30 },
		{ "16777215T", 0, UINT64_C(16777215) << 40 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 7 },
		{ "16777216T", -ERANGE, 7 },
		{ "99999999999999999999999K", -ERANGE, 7 },
		{ "99999999999999999999999x", -EINVAL, 7 },
		{ "", -EINVAL, 7 },
		{ "K", -EINVAL, 7 },
		{ "-1", -EINVAL, 7 },
		{ "+1", -EINVAL, 7 },
		{ " 1", -EINVAL, 7 },
		{ "1 ", -EINVAL, 7 },
		{ "1.5G", -EINVAL, 7 },
		{ "1k", -EINVAL, 7 },
		{ "1KB", -EINVAL, 7 },
		{ "0x10", -EINVAL, 7 },
		{ "1P", -EINVAL, 7 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t value = 7;
		assert_int_equal(text_parse_size(rows[i].text, &value), rows[i].r);
		assert_int_equal(value, rows[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_size_is_a_number_and_a_binary_unit) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
