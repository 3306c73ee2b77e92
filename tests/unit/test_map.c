#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/base/map.h"

#define KEYS 97
#define VALUES 4

// What the map should hold: how often each value is there under each key.
struct model {
	char values[KEYS * VALUES];
	unsigned count[KEYS][VALUES];
	size_t total;
};

static char *value_of(struct model *m, unsigned key, unsigned v)
{
	return &m->values[key * VALUES + v];
}

static bool is(const void *value, const void *arg)
{
	return value == arg;
}

// Inode numbers come densely and in steps of powers of two.
static uint64_t key_of(unsigned key)
{
	return key % 2 ? key : (uint64_t)key << 32;
}

static void check(struct model *model, const struct map *map)
{
	assert_int_equal(map->count, model->total);
	for (unsigned k = 0; k < KEYS; k++) {
		for (unsigned v = 0; v < VALUES; v++) {
			void *found = map_find(map, key_of(k), is, value_of(model, k, v));
			assert_ptr_equal(found, model->count[k][v] ? value_of(model, k, v) : NULL);
		}
	}
}

static void remove_most(struct model *model, struct map *map)
{
	for (unsigned k = 0; k < KEYS - 2; k++) {
		for (unsigned v = 0; v < VALUES; v++) {
			if (model->count[k][v] == 0)
				continue;
			map_remove(map, key_of(k), value_of(model, k, v));
			model->count[k][v] = 0;
			model->total--;
		}
	}
	size_t before = map->capacity;
	bool shrunk = map_shrink(map);
	assert_int_equal(shrunk, map->capacity < before);
	assert_true(map->capacity <= 16 || map->count * 8 > map->capacity);
}

static void it_holds_what_a_naive_model_holds(void **state)
{
	(void)state;
	struct model model = { 0 };
	struct map map = { 0 };

	srandom(2);
	for (int i = 0; i < 20000; i++) {
		unsigned k = (unsigned)random() % KEYS, v = (unsigned)random() % VALUES;
		if (model.count[k][v] == 0) {
			assert_int_equal(map_reserve(&map), 0);
			map_add(&map, key_of(k), value_of(&model, k, v));
			model.count[k][v] = 1;
			model.total++;
		} else {
			map_remove(&map, key_of(k), value_of(&model, k, v));
			model.count[k][v] = 0;
			model.total--;
		}
		if (i % 512 == 0)
			remove_most(&model, &map);
		if (i % 64 == 0)
			check(&model, &map);
	}
	check(&model, &map);
	map_free(&map);
}

static void an_empty_map_finds_nothing(void **state)
{
	(void)state;
	struct map map = { 0 };
	assert_null(map_find(&map, 7, NULL, NULL));
	map_free(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_holds_what_a_naive_model_holds),
		cmocka_unit_test(an_empty_map_finds_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
