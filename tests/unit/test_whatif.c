// Estimates take no longer than what they are made for.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "hashify/known.h"
#include "hashify/whatif.h"

#define OBJECTS 200000
#define SIZE 12

static void many_objects_of_one_size_are_not_all_looked_at_for_each_file(void **state)
{
	(void)state;
	struct known known = { .objects = calloc(OBJECTS, sizeof(*known.objects)), .count = OBJECTS };
	assert_non_null(known.objects);
	for (size_t i = 0; i < OBJECTS; i++)
		known.objects[i] = (struct known_object){ .key.size = SIZE, .identity = i };
	const struct whatif_pass pass = { .known = &known };
	struct tree_file file = { .size = SIZE };

	clock_t start = clock();
	for (uint64_t i = 1; i <= 2000; i++)
		assert_false(whatif_has_twin(&pass, &file, (struct digest){ .low = i }));

	assert_true(clock() - start < CLOCKS_PER_SEC);
	known_free(&known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_objects_of_one_size_are_not_all_looked_at_for_each_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
