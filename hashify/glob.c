#include "hashify/glob.h"

#include <string.h>

// All ways in which a pattern can match are followed at once, an element of the pattern at a time: what is
// known of the name is a set of places in it, those that the pattern may have got to.

static bool has(const struct glob_places *p, size_t i)
{
	return p->words[i / 64] >> i % 64 & 1;
}

static void add(struct glob_places *p, size_t i, bool is)
{
	p->words[i / 64] |= (uint64_t)is << i % 64;
}

void glob_name_init(struct glob_name *n, const char *name)
{
	n->text = name;
	n->len = strlen(name);
	n->known = (struct glob_places){ 0 };
}

static const struct glob_places *upto(struct glob_name *n, unsigned char c)
{
	struct glob_places *p = &n->upto[c];
	if (has(&n->known, c))
		return p;
	*p = (struct glob_places){ 0 };
	for (size_t i = 0; i < n->len; i++)
		add(p, i, (unsigned char)n->text[i] <= c);
	add(&n->known, c, true);
	return p;
}

// Adds the places in front of a byte from @low to @high.
static void add_range(struct glob_name *n, unsigned char low, unsigned char high, struct glob_places *p)
{
	if (low > high)
		return;
	const struct glob_places *in = upto(n, high), *below = low > 0 ? upto(n, low - 1) : NULL;
	for (int i = 0; i < GLOB_WORDS; i++)
		p->words[i] |= in->words[i] & ~(below ? below->words[i] : 0);
}

// The set that begins after a '[' at @p: adds the places in front of its bytes, and returns where the pattern
// goes on after its ']'. NULL: there is none, and '[' stands for itself.
static const char *add_set(struct glob_name *n, const char *p, const char *end, struct glob_places *ret)
{
	bool negated = p < end && (*p == '!' || *p == '^');
	const char *first = p += negated;
	struct glob_places in = { 0 };

	for (; p < end && (*p != ']' || p == first); p++) {
		unsigned char low = (unsigned char)*p, high = low;
		if (p + 2 < end && p[1] == '-' && p[2] != ']') {
			high = (unsigned char)p[2];
			p += 2;
		}
		add_range(n, low, high, &in);
	}
	if (p == end)
		return NULL;
	const struct glob_places *all = upto(n, UINT8_MAX);
	for (int i = 0; i < GLOB_WORDS; i++)
		ret->words[i] = negated ? all->words[i] & ~in.words[i] : in.words[i];
	return p + 1;
}

// The places in front of what the element at @p, which is no '*', takes; behind @last there is no ']'.
// Returns where the pattern goes on.
static const char *add_element(struct glob_name *n, const char *p, const char *end, const char *last,
			       struct glob_places *ret)
{
	const char *next = *p == '[' && p < last ? add_set(n, p + 1, end, ret) : NULL;
	if (next)
		return next;
	if (*p == '?') {
		*ret = *upto(n, UINT8_MAX);
		return p + 1;
	}
	if (*p == '\\' && p + 1 < end)
		p++;
	add_range(n, (unsigned char)*p, (unsigned char)*p, ret);
	return p + 1;
}

// From @at on by a byte, where that is one of @taken. False: nowhere.
static bool go_on(struct glob_places *at, const struct glob_places *taken)
{
	uint64_t carry = 0, any = 0;
	for (int i = 0; i < GLOB_WORDS; i++) {
		uint64_t both = at->words[i] & taken->words[i];
		at->words[i] = both << 1 | carry;
		carry = both >> 63;
		any |= both;
	}
	return any;
}

// From @at on by any number of bytes.
static void go_anywhere(struct glob_places *at)
{
	bool found = false;
	for (int i = 0; i < GLOB_WORDS; i++) {
		uint64_t first = at->words[i] & -at->words[i];
		at->words[i] = found ? UINT64_MAX : -first;
		found = found || first;
	}
}

// Most patterns end in a byte that most names do not end in.
static bool may_end(const char *pattern, size_t len, const struct glob_name *n)
{
	if (len == 0 || n->len == 0)
		return true;
	char last = pattern[len - 1];
	return last == n->text[n->len - 1] || last == '*' || last == '?' || last == ']';
}

bool glob_match(const char *pattern, size_t len, struct glob_name *n)
{
	const char *p = pattern, *end = pattern + len, *last = memrchr(pattern, ']', len);
	struct glob_places at = { { 1 } };

	if (n->len > GLOB_NAME_MAX || !may_end(pattern, len, n))
		return false;
	while (p < end) {
		struct glob_places taken = { 0 };
		if (*p == '*') {
			go_anywhere(&at);
			p++;
			continue;
		}
		p = add_element(n, p, end, last ? last : pattern, &taken);
		if (!go_on(&at, &taken))
			return false;
	}
	return has(&at, n->len);
}

bool glob_is_literal(const char *pattern, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr("*?[\\", pattern[i]))
			return false;
	return true;
}
