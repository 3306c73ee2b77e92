// The exit statuses of hashify. What a signal stopped ends with 128 + the signal. verify: 1 is damage, and
// any error is 2.
#pragma once

enum { EXIT_OK = 0, EXIT_ERRORS = 1, EXIT_DAMAGE = 1, EXIT_FATAL = 2 };
