#include "hashify/text.h"

#include "store/base/utf8.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// A line of a log holds this much and what is said of it.
#define SHOWN_MAX 3000

static char *print_byte(char *p, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	*p++ = '\\';
	*p++ = 'x';
	*p++ = digits[c >> 4];
	*p++ = digits[c & 15];
	return p;
}

static void cut_middle(char *text, size_t len)
{
	const size_t half = SHOWN_MAX / 2;
	if (len <= SHOWN_MAX)
		return;
	char *left = text + half, *right = text + len - half;
	while ((*left & 0xc0) == 0x80)
		left--;
	while ((*right & 0xc0) == 0x80)
		right++;
	for (int i = 0; i < 3; i++)
		*left++ = '.';
	memmove(left, right, (size_t)(text + len - right) + 1);
}

char *text_printable(const char *name)
{
	char *text = malloc(strlen(name) * 4 + 1), *p = text;
	if (!text)
		return NULL;
	for (const unsigned char *s = (const unsigned char *)name; *s;) {
		uint32_t code;
		size_t len = utf8_decode(s, &code);
		if (len > 0 && utf8_is_printable(code)) {
			p = mempcpy(p, s, len);
			s += len;
			continue;
		}
		p = print_byte(p, *s++);
	}
	*p = '\0';
	cut_middle(text, (size_t)(p - text));
	return text;
}

void text_json(FILE *f, const char *name)
{
	fputc('"', f);
	for (const unsigned char *s = (const unsigned char *)name; *s;) {
		uint32_t code;
		size_t len = utf8_decode(s, &code);
		if (len == 0)
			fputs("\\ufffd", f);
		else if (code == '"' || code == '\\')
			fprintf(f, "\\%c", (int)code);
		else if (utf8_is_printable(code) || code > 0xffff)
			fwrite(s, 1, len, f);
		else
			fprintf(f, "\\u%04x", code);
		s += len > 0 ? len : 1;
	}
	fputc('"', f);
}

struct text_size text_size(uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	struct text_size ret;
	size_t unit = 0;
	double value = (double)bytes;
	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(ret.text, sizeof(ret.text), unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
	return ret;
}

const char *text_plural(uint64_t count, const char *one, const char *many)
{
	return count == 1 ? one : many;
}

void text_json_signal(FILE *f, int signal)
{
	fputs(signal == 0 ? "null" : signal == SIGINT ? "\"SIGINT\"" : "\"SIGTERM\"", f);
}

int text_parse_size(const char *s, uint64_t *ret)
{
	static const char units[] = "KMGT";
	uint64_t value = 0;
	bool too_large = false;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	for (; *s >= '0' && *s <= '9'; s++) {
		too_large |= __builtin_mul_overflow(value, 10, &value);
		too_large |= __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value);
	}
	if (*s != '\0') {
		const char *unit = strchr(units, *s);
		if (!unit || s[1] != '\0')
			return -EINVAL;
		too_large |= __builtin_mul_overflow(value, UINT64_C(1024) << (10 * (unit - units)), &value);
	}
	if (too_large)
		return -ERANGE;
	if (value == 0)
		return -EINVAL;
	*ret = value;
	return 0;
}
