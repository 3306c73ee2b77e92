// The exit statuses of hashify. A pass that a signal stopped ends with 128 + the signal.
#pragma once

enum { EXIT_OK = 0, EXIT_ERRORS = 1, EXIT_FATAL = 2 };
