#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hashify/progress_line.h"
#include "hashify/progress_rate.h"

#include <string.h>

#define GIB ((uint64_t)1 << 30)

static struct progress_state reading(void)
{
	return (struct progress_state){
		.phase = PROGRESS_READ,
		.files = 12345,
		.bytes = 3 * GIB / 2,
		.total_files = 67890,
		.total_bytes = 3 * GIB,
		.freed = GIB / 2,
		.guest = "web1",
		.rate = 120.0 * (1 << 20),
		.left = 754,
		.elapsed = 12,
	};
}

static size_t characters(const char *text)
{
	size_t n = 0;
	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static void expect_bar(const struct progress_state *s, unsigned width, const char *wanted)
{
	assert_string_equal(progress_line_bar(s, width).text, wanted);
}

static void a_wide_terminal_shows_everything(void **state)
{
	(void)state;
	struct progress_state s = reading();
	expect_bar(
		&s, 90,
		" 50% [##########-----------] 1.5G/3.0G 12345/67890 files 120M/s ETA 12:34 freed 512M web1");
	expect_bar(
		&s, 300,
		" 50% [###################-------------------] 1.5G/3.0G 12345/67890 files 120M/s ETA 12:34 "
		"freed 512M web1");
}

static void a_narrow_terminal_shows_what_matters_most(void **state)
{
	(void)state;
	struct progress_state s = reading();
	expect_bar(&s, 70, " 50% [#########----------] 1.5G/3.0G 120M/s ETA 12:34 freed 512M web1");
	expect_bar(&s, 41, " 50% [######------] ETA 12:34 freed 512M");
	expect_bar(&s, 15, " 50% ETA 12:34");
	expect_bar(&s, 14, " 50%");
	expect_bar(&s, 4, "");
	expect_bar(&s, 0, "");
}

static void no_line_is_as_wide_as_the_terminal(void **state)
{
	(void)state;
	static const char *const guests[] = { "web1", "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97",
					      "a\n\033[2Jb", "\xff\xfe\xfd\xfc\xfb\xfa", NULL };
	struct progress_state s = reading();
	for (int phase = PROGRESS_STORE; phase <= PROGRESS_FLUSH; phase++) {
		for (size_t g = 0; g < sizeof(guests) / sizeof(guests[0]); g++) {
			for (unsigned width = 0; width < 300; width++) {
				s.phase = (enum progress_phase)phase;
				s.guest = guests[g];
				const struct progress_line line = progress_line_bar(&s, width);
				assert_true(characters(line.text) < width || line.text[0] == '\0');
			}
		}
	}
}

static void a_name_cannot_steer_the_terminal(void **state)
{
	(void)state;
	struct progress_state s = reading();
	s.guest = "a\n\033[2J\xff";
	const struct progress_line bar = progress_line_bar(&s, 200), plain = progress_line_plain(&s);
	assert_non_null(strstr(bar.text, " a\\x0a\\x1b[2J\\xff"));
	assert_non_null(strstr(plain.text, " at a\\x0a\\x1b[2J\\xff"));
}

static void a_name_of_any_length_fits(void **state)
{
	(void)state;
	struct progress_state s = reading();
	char name[4096];
	memset(name, 1, sizeof(name) - 1);  // each is shown as four characters
	name[sizeof(name) - 1] = '\0';
	s.guest = name;
	assert_true(characters(progress_line_bar(&s, 100).text) < 100);
	assert_true(strlen(progress_line_plain(&s).text) < PROGRESS_LINE_MAX);

	for (size_t i = 0; i + 2 < sizeof(name); i += 2)
		memcpy(name + i, "\xc3\xa4", 2);
	for (int shift = 0; shift < 2; shift++, s.guest++) {
		const struct progress_line plain = progress_line_plain(&s);
		assert_int_not_equal((unsigned char)plain.text[strlen(plain.text) - 1], 0xc3);
	}
}

static void a_total_of_zero_is_done(void **state)
{
	(void)state;
	struct progress_state s = { .phase = PROGRESS_READ, .rate = -1, .left = -1 };
	expect_bar(&s, 42, "100% [#########] 0B/0B 0/0 files freed 0B");
	assert_string_equal(progress_line_plain(&s).text,
			    "reading: 100 %, 0 bytes of 0 bytes, 0 of 0 files, 0 bytes freed");
}

static void all_is_said_only_when_all_is_done(void **state)
{
	(void)state;
	struct progress_state s = reading();
	s.bytes = s.total_bytes - 1;
	assert_memory_equal(progress_line_bar(&s, 80).text, " 99%", 4);
	s.bytes = s.total_bytes;
	assert_memory_equal(progress_line_bar(&s, 80).text, " 99%", 4);
	s.bytes = UINT64_MAX;
	s.files = s.total_files + 1;
	assert_memory_equal(progress_line_bar(&s, 80).text, "100%", 4);
}

static void each_phase_has_its_words(void **state)
{
	(void)state;
	struct progress_state s = { .phase = PROGRESS_STORE, .elapsed = 3700 };
	expect_bar(&s, 80, "reading the store 1:01:40");
	s = (struct progress_state){ .phase = PROGRESS_WALK, .seen = 42, .elapsed = 9, .guest = "web1" };
	expect_bar(&s, 80, "walking 42 names 0:09 web1");
	assert_string_equal(progress_line_plain(&s).text, "walking for 0:09, 42 names, at web1");
	s = (struct progress_state){ .phase = PROGRESS_FLUSH, .freed = 2048, .dry_run = true };
	expect_bar(&s, 80, "flushing 0:00 would free 2.0K");
	assert_string_equal(progress_line_plain(&s).text, "flushing for 0:00, 2.0 KiB would be freed");
	s = reading();
	assert_string_equal(
		progress_line_plain(&s).text,
		"reading: 50 %, 1.5 GiB of 3.0 GiB, 12345 of 67890 files, 120.0 MiB/s, 12:34 left, "
		"512.0 MiB freed, at web1");
}

static struct progress_speed take(struct progress_rate *r, double time, uint64_t bytes, uint64_t total)
{
	const struct progress_sample now = { time, 0, bytes }, all = { 0, 0, total };
	return progress_rate_take(r, &now, &all);
}

static void the_rate_is_that_of_the_last_seconds(void **state)
{
	(void)state;
	struct progress_rate r = { 0 };
	assert_true(take(&r, 100, 0, 10000).rate < 0);
	for (int i = 1; i <= 1000; i++)  // 100 bytes a second, and then 1
		take(&r, 100 + i * 0.2, (uint64_t)i * 20, 1000000);
	struct progress_speed s;
	for (int i = 1; i <= 30; i++)
		s = take(&r, 300 + i, 20000 + (uint64_t)i, 20060);
	assert_true(s.rate > 0.9 && s.rate < 1.1);
	assert_true(s.left > 28 && s.left < 32);
}

static void whoever_asks_seldom_gets_the_rate_since_then(void **state)
{
	(void)state;
	struct progress_rate r = { 0 };
	take(&r, 0, 0, 1000);
	assert_true(take(&r, 100, 500, 1000).rate == 5);
	assert_true(take(&r, 100, 500, 1000).rate == 5);
	assert_true(take(&r, 200, 600, 1000).rate == 1);
}

static void what_stands_still_ends_never_and_what_is_done_at_once(void **state)
{
	(void)state;
	struct progress_rate r = { 0 };
	take(&r, 0, 10, 1000);
	assert_true(take(&r, 5, 10, 1000).left < 0);
	assert_true(take(&r, 6, 1000, 1000).left == 0);
	assert_true(take(&r, 7, 1001, 1000).left == 0);
}

static void small_files_take_time_too(void **state)
{
	(void)state;
	struct progress_rate r = { 0 };
	const struct progress_sample all = { 0, 1000, 1000 };
	progress_rate_take(&r, &(struct progress_sample){ 0, 0, 0 }, &all);
	struct progress_speed s = progress_rate_take(&r, &(struct progress_sample){ 10, 100, 1000 }, &all);
	assert_true(s.left > 80 && s.left < 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wide_terminal_shows_everything),
		cmocka_unit_test(a_narrow_terminal_shows_what_matters_most),
		cmocka_unit_test(no_line_is_as_wide_as_the_terminal),
		cmocka_unit_test(a_name_cannot_steer_the_terminal),
		cmocka_unit_test(a_name_of_any_length_fits),
		cmocka_unit_test(a_total_of_zero_is_done),
		cmocka_unit_test(all_is_said_only_when_all_is_done),
		cmocka_unit_test(each_phase_has_its_words),
		cmocka_unit_test(the_rate_is_that_of_the_last_seconds),
		cmocka_unit_test(whoever_asks_seldom_gets_the_rate_since_then),
		cmocka_unit_test(what_stands_still_ends_never_and_what_is_done_at_once),
		cmocka_unit_test(small_files_take_time_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
