#include "hashify/glob.h"

#include <stdint.h>
#include <string.h>

// The set that begins after a '[' at @p: sets *@ret_in, whether @c is in it, and returns where the pattern
// goes on after its ']'. NULL: there is none, and '[' stands for itself.
static const char *match_set(const char *p, const char *end, unsigned char c, bool *ret_in)
{
	bool negated = p < end && (*p == '!' || *p == '^'), in = false;
	const char *first = p += negated;

	for (; p < end && (*p != ']' || p == first); p++) {
		unsigned char low = (unsigned char)*p, high = low;
		if (p + 2 < end && p[1] == '-' && p[2] != ']') {
			high = (unsigned char)p[2];
			p += 2;
		}
		in = in || (low <= c && c <= high);
	}
	*ret_in = in != negated;
	return p < end ? p + 1 : NULL;
}

// Matches one element at @p, which is no '*', against @c, and returns where the pattern goes on; NULL: it
// does not match.
static const char *match_one(const char *p, const char *end, unsigned char c)
{
	if (*p == '?')
		return p + 1;
	if (*p == '[') {
		bool in;
		const char *next = match_set(p + 1, end, c, &in);
		if (next)
			return in ? next : NULL;
	}
	if (*p == '\\' && p + 1 < end)
		p++;
	return (unsigned char)*p == c ? p + 1 : NULL;
}

bool glob_match(const char *pattern, size_t len, const char *name)
{
	const char *p = pattern, *end = pattern + len;
	const char *star = NULL, *tried = NULL;  // the last '*', and the first byte it does not take

	// Only the last '*' need ever take more: what the earlier ones took is as little as can be.
	while (*name) {
		const char *next = p < end && *p != '*' ? match_one(p, end, (unsigned char)*name) : NULL;
		if (next) {
			p = next;
			name++;
		} else if (p < end && *p == '*') {
			star = ++p;
			tried = name;
		} else if (star) {
			p = star;
			name = ++tried;
		} else {
			return false;
		}
	}
	while (p < end && *p == '*')
		p++;
	return p == end;
}

bool glob_is_literal(const char *pattern, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr("*?[\\", pattern[i]))
			return false;
	return true;
}
