#include "store/name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// @digits: how many at least, @most at most. Returns the end.
static char *print_hex(char *p, uint64_t value, unsigned digits, unsigned most)
{
	while (digits < most && value >> 4 * digits != 0)
		digits++;
	for (unsigned i = digits; i-- > 0; value >>= 4)
		p[i] = "0123456789abcdef"[value & 15];
	return p + digits;
}

// By hand: there are several for each file that is linked, and snprintf(3) takes a microsecond for it.
void object_name_print(const struct object_key *key, char ret[OBJECT_NAME_SIZE])
{
	char *p = print_hex(ret, key->digest.high, 16, 16);

	p = print_hex(p, key->digest.low, 16, 16);
	*p++ = '-';
	p = print_hex(p, key->size, 1, 16);
	*p++ = '-';
	p = print_hex(p, key->identity, 16, 16);
	*p++ = '-';
	p = print_hex(p, key->variant, 1, 8);
	*p = '\0';
}

void object_path_print(const struct object_key *key, char ret[OBJECT_PATH_SIZE])
{
	char name[OBJECT_NAME_SIZE];

	object_name_print(key, name);
	char *p = stpcpy(ret, "objects/");
	p = stpcpy(mempcpy(p, name, OBJECT_SHARD_DIGITS), "/");
	stpcpy(p, name);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

// Reads between @least and @most digits at *@p.
static int parse_hex(const char **p, int least, int most, uint64_t *ret)
{
	uint64_t value = 0;
	int digits = 0;

	for (; digits < most && hex_digit(**p) >= 0; digits++, (*p)++)
		value = value << 4 | (uint64_t)hex_digit(**p);
	if (digits < least)
		return -EINVAL;
	*ret = value;
	return 0;
}

static int parse_fields(const char *p, struct object_key *ret)
{
	uint64_t variant;

	if (parse_hex(&p, 16, 16, &ret->digest.high) < 0 || parse_hex(&p, 16, 16, &ret->digest.low) < 0)
		return -EINVAL;
	if (*p++ != '-' || parse_hex(&p, 1, 16, &ret->size) < 0)
		return -EINVAL;
	if (*p++ != '-' || parse_hex(&p, 16, 16, &ret->identity) < 0)
		return -EINVAL;
	if (*p++ != '-' || parse_hex(&p, 1, 8, &variant) < 0 || *p)
		return -EINVAL;
	ret->variant = (uint32_t)variant;
	return 0;
}

int object_name_parse(const char *name, struct object_key *ret)
{
	char again[OBJECT_NAME_SIZE];
	struct object_key key;

	int r = parse_fields(name, &key);
	if (r < 0)
		return r;
	// One name a key: no leading zeros where the width is free.
	object_name_print(&key, again);
	if (strcmp(again, name) != 0)
		return -EINVAL;
	*ret = key;
	return 0;
}
