// Patterns match what their description says, whatever bytes they and the names are.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "hashify/exclude.h"
#include "hashify/glob.h"

static struct exclude *made_of(const char *text)
{
	struct exclude *x = exclude_new();
	assert_non_null(x);
	assert_int_equal(exclude_add_text(x, text, strlen(text)), 0);
	return x;
}

// Walks down @path ("a/b/c", a slash at its end says that it is a directory) as a walk does.
static bool excludes(const struct exclude *x, const char *path)
{
	struct exclude_stack s = { 0 };
	char copy[512];
	snprintf(copy, sizeof(copy), "%s", path);
	bool is_dir = copy[strlen(copy) - 1] == '/', found = false;
	if (is_dir)
		copy[strlen(copy) - 1] = '\0';

	assert_int_equal(exclude_push_root(x, &s), 0);
	size_t from = 0, to = s.count;
	for (char *name = copy, *slash; name && !found; name = slash) {
		slash = strchr(name, '/');
		if (slash)
			*slash++ = '\0';
		found = exclude_match(x, &s, from, to, name, slash || is_dir);
		assert_int_equal(exclude_push(&s, from, to, name), 0);
		from = to;
		to = s.count;
	}
	exclude_stack_free(&s);
	return found;
}

struct example {
	const char *patterns;
	const char *path;
	bool excluded;
};

static const struct example examples[] = {
	{ "*.log", "a.log", true },
	{ "*.log", "var/x/a.log", true },
	{ "*.log", "a.log/inside", true },
	{ "*.log", "a.logs", false },
	{ "core", "usr/core", true },
	{ "core", "usr/core2", false },
	{ "core/", "usr/core", false },
	{ "core/", "usr/core/", true },
	{ "core/", "usr/core/x", true },
	{ "/var/log/", "var/log/", true },
	{ "/var/log/", "var/log", false },
	{ "/var/log/", "var/log/a/b", true },
	{ "/var/log/", "srv/var/log/a", false },
	{ "var/log", "var/log", true },
	{ "var/log", "srv/var/log", false },
	{ "/core", "core", true },
	{ "/core", "usr/core", false },
	{ "/var/*/x", "var/a/x", true },
	{ "/var/*/x", "var/a/b/x", false },
	{ "/var/**/x", "var/a/b/x", true },
	{ "/var/**/x", "var/x", true },
	{ "/var/**/x", "x", false },
	{ "**/x/y", "x/y", true },
	{ "**/x/y", "a/b/x/y", true },
	{ "**/x/y", "a/x/b/y", false },
	{ "/var/**", "var/a", true },
	{ "/var/**", "var/", false },
	{ "/a/**/**/b", "a/c/b", true },
	{ "/a/**/b/**/c", "a/1/b/2/c", true },
	{ "/a/**/b/**/c", "a/b/b/b/c", true },
	{ "/a/**/b/**/c", "a/c", false },
	{ "*.log\n!keep.log", "keep.log", false },
	{ "*.log\n!keep.log", "x.log", true },
	{ "!keep.log\n*.log", "keep.log", true },
	{ "/var/log/\n!/var/log/x", "var/log/x", true },
	{ "/etc/\n!/etc/", "etc/x", false },
	{ "x/\n!x", "x/", false },
	{ "!x\nx/", "x/", true },
	{ "!x\nx/", "x", false },
	{ "# *\n\n  \n*.a  \r\n", "b.a", true },
	{ "# *\n", "# *", false },
	{ "\\#x", "#x", true },
	{ "\\!x", "!x", true },
	{ "[ab].x", "b.x", true },
	{ "[!ab].x", "b.x", false },
	{ "[!ab].x", "c.x", true },
	{ "[a-c]", "b", true },
	{ "[]x]", "]", true },
	{ "[x", "[x", true },
	{ "[]", "[]", true },
	{ "[[[]x", "[[x", false },
	{ "[[[]x", "[x", true },
	{ "[!]", "[!]", true },
	{ "*[!a-cx-z]*[b-b]", "aacqxb", true },
	{ "*[!a-cx-z]*[b-b]", "aacyxb", false },
	{ "[z-a]", "b", false },
	{ "*\x80[\x80-\xff]", "ab\x80\xfe", true },
	{ "a\\*b", "a*b", true },
	{ "a\\*b", "axb", false },
	{ "a?c",
	  "a\xff"
	  "c",
	  true },
	{ "\xff*", "\xff\xfe", true },
	{ "*", "anything", true },
	{ "/*", "a/b", true },
};

static void examples_match(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
		const struct example *e = &examples[i];
		struct exclude *x = made_of(e->patterns);
		if (excludes(x, e->path) != e->excluded)
			fail_msg("%s on %s: expected %d", e->patterns, e->path, e->excluded);
		exclude_free(x);
	}
}

static void a_byte_order_mark_is_no_part_of_a_pattern(void **state)
{
	(void)state;
	struct exclude *x = made_of("\xef\xbb\xbf/usr/a\n\xef\xbb\xbf# none\nb\n\xef\xbb\xbf\n");
	assert_true(excludes(x, "usr/a"));
	assert_true(excludes(x, "b"));
	assert_false(excludes(x, "# none"));
	exclude_free(x);
}

static void what_is_no_pattern_is_told_by_its_line(void **state)
{
	static const char *const wrong[] = {
		"/",        "!",   "a//b", "//", "!/",  "a//", "/a//b/", "./usr",
		"usr/../x", "/..", "..",   "!.", "a/.", "./",  " a",     "!\t/a"
	};
	(void)state;
	struct exclude *x = exclude_new();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(exclude_add(x, wrong[i]), -EINVAL);
	assert_int_equal(exclude_add(x, ""), -EINVAL);
	assert_int_equal(exclude_add_text(x, "a\n\n/\nb", 6), 3);
	assert_int_equal(exclude_add_text(x, "a\nb\0c\nd", 7), 2);
	assert_int_equal(exclude_add_text(x, "a\n  # no comment", 16), 2);
	assert_int_equal(exclude_add(x, ".a"), 0);
	assert_int_equal(exclude_add(x, "...//"), -EINVAL);
	assert_int_equal(exclude_add(x, "/.../[ ]a"), 0);
	assert_true(excludes(x, "d"));
	assert_true(excludes(x, "x/.a"));
	assert_true(excludes(x, ".../ a"));
	assert_false(excludes(x, "..."));
	exclude_free(x);
}

// As simple as can be, and exponential.
static bool matches_simply(const char *p, const char *name)
{
	if (*p == '\0')
		return *name == '\0';
	if (*p == '*')
		return matches_simply(p + 1, name) || (*name && matches_simply(p, name + 1));
	return *name && (*p == '?' || *p == *name) && matches_simply(p + 1, name + 1);
}

static bool matches(const char *p, const char *name)
{
	struct glob_name n;
	glob_name_init(&n, name);
	return glob_match(p, strlen(p), &n);
}

static void random_globs_match_as_simply_put(void **state)
{
	(void)state;
	srand(3);
	for (int i = 0; i < 200000; i++) {
		char p[9] = { 0 }, name[9] = { 0 };
		for (int k = rand() % 8; k > 0; k--)
			p[k - 1] = "ab*?"[rand() % 4];
		for (int k = rand() % 8; k > 0; k--)
			name[k - 1] = "ab"[rand() % 2];
		if (strlen(p) && matches(p, name) != matches_simply(p, name))
			fail_msg("%s on %s", p, name);
	}
}

static void names_of_every_length_match_at_their_ends(void **state)
{
	(void)state;
	char name[258] = "";
	for (int len = 1; len < 257; len++) {
		memset(name, 'a', (size_t)len - 1);
		name[len - 1] = 'b';
		bool whole = len <= GLOB_NAME_MAX;
		assert_int_equal(matches("*b", name), whole);
		assert_int_equal(matches("*?", name), whole);
		assert_int_equal(matches(name, name), whole);
		assert_false(matches("*a", name));
		assert_false(matches("*b?", name));
	}
}

// As many bytes of patterns as a guest may have in its list, and the longest names.
static void assert_patterns_take_no_longer(const char *one, const char *name)
{
	char text[16384];
	size_t size = 0, len = strlen(one);
	struct exclude *x = exclude_new();
	struct exclude_stack s = { 0 };

	for (int i = 0; size + len + 5 < sizeof(text); i++)
		size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%03d\n", one, i);
	assert_int_equal(exclude_add_text(x, text, size), 0);
	clock_t start = clock();
	for (int i = 0; i < 300; i++)
		assert_false(exclude_match(x, &s, 0, 0, name, false));
	assert_true(clock() - start < CLOCKS_PER_SEC);
	exclude_free(x);
}

static void no_pattern_takes_long(void **state)
{
	char p[201], name[256];
	(void)state;
	memset(name, 'a', 255);
	name[255] = '\0';
	memset(p, 'a', 200);
	p[0] = '*';
	p[128] = '\0';
	assert_patterns_take_no_longer(p, name);
	p[120] = '*';
	assert_patterns_take_no_longer(p, name);
	for (int i = 1; i < 120; i += 2)
		p[i] = '?';
	assert_patterns_take_no_longer(p, name);
	for (int i = 0; i < 100; i++)
		memcpy(p + 2 * i, "*a", 2);
	p[200] = '\0';
	assert_patterns_take_no_longer(p, name);
	assert_patterns_take_no_longer("*[\x01-\xff]a[!b-\xff]", name);
	memset(name, '[', 255);
	memset(p, '[', 200);
	assert_patterns_take_no_longer(p, name);
	assert_patterns_take_no_longer("*[", name);
}

static void many_deep_patterns_take_no_longer(void **state)
{
	char text[8192] = "", path[512] = "";
	(void)state;
	for (int i = 0; i < 200; i++)
		sprintf(text + strlen(text), "**/a/**/b/**/c%d/**/d\n", i);
	size_t len = 0;
	for (int i = 0; i < 60; i++)
		len += (size_t)sprintf(path + len, "a/b/c1/");
	struct exclude *x = made_of(text);
	clock_t start = clock();
	for (int i = 0; i < 100; i++)
		assert_false(excludes(x, path));
	assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
	sprintf(path + len, "d");
	assert_true(excludes(x, path));
	exclude_free(x);
}

// Each directory's state has all of them.
static void many_patterns_on_the_way_down_take_no_longer(void **state)
{
	char text[16384], name[64] = "";
	size_t size = 0;
	(void)state;
	memset(name, 'a', 60);
	for (int i = 1; i < 60; i++)
		for (int k = 0; k < 8 && size < 16000; k++)
			size += (size_t)sprintf(text + size, "%.*s*%.*s/b\n", i, name, k, name);
	struct exclude *x = made_of(text);
	struct exclude_stack s = { 0 };
	assert_int_equal(exclude_push_root(x, &s), 0);
	clock_t start = clock();
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(exclude_push(&s, 0, 1, name), 0);
		assert_true(s.count > 300);
		s.count = 1;
	}
	assert_true(clock() - start < CLOCKS_PER_SEC);
	exclude_stack_free(&s);
	exclude_free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_match),
		cmocka_unit_test(a_byte_order_mark_is_no_part_of_a_pattern),
		cmocka_unit_test(what_is_no_pattern_is_told_by_its_line),
		cmocka_unit_test(random_globs_match_as_simply_put),
		cmocka_unit_test(names_of_every_length_match_at_their_ends),
		cmocka_unit_test(no_pattern_takes_long),
		cmocka_unit_test(many_deep_patterns_take_no_longer),
		cmocka_unit_test(many_patterns_on_the_way_down_take_no_longer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
