// What a program says, one line an event, to stderr or, once it has become a daemon, to syslog. Called by
// programs only: a library returns errors. What is no printable UTF-8 is escaped as \xHH.
#pragma once

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

// Sets the prefix, a static string, and the highest level that is shown.
void log_init(const char *program, enum log_level level);

// From now on lines go to syslog.
void log_to_syslog(void);

// Calls @before and @after each line that goes to stderr, with @arg: who draws on the terminal takes its
// drawing away, and puts it back. One at a time; NULL: nobody. Set while no other thread says anything.
void log_around(void (*before)(void *arg), void (*after)(void *arg), void *arg);

bool log_enabled(enum log_level level);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The text of the last error, as it was shown; "": there was none. Valid until the next one.
const char *log_last_error(void);
