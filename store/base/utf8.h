// Characters of names that anybody may have chosen.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The length of the UTF-8 character at @s, which ends with a NUL, and its code in *@ret; 0: there is none.
size_t utf8_decode(const unsigned char *s, uint32_t *ret);

// Not so are control characters, and those that change the direction or hide what follows.
bool utf8_is_printable(uint32_t code);
