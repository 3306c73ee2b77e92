#include "store/base/utf8.h"

size_t utf8_decode(const unsigned char *s, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
	if (len == 0 || s[0] > 0xf4)
		return 0;

	uint32_t code = len == 1 ? s[0] : s[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret = code;
	return len;
}

bool utf8_is_printable(uint32_t code)
{
	return code >= 0x20 && !(code >= 0x7f && code <= 0xa0) && code != 0xad && code != 0x61c &&
	       !(code >= 0x200b && code <= 0x200f) && !(code >= 0x2028 && code <= 0x202f) &&
	       !(code >= 0x2060 && code <= 0x206f) && code != 0xfeff && !(code >= 0xfff0 && code <= 0xfffb) &&
	       !(code >= 0xe000 && code <= 0xf8ff) && code < 0xe0000;
}
