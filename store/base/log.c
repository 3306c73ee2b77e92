#include "store/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "store/base/cleanup.h"
#include "store/base/thread.h"
#include "store/base/utf8.h"

// Of what is shown, escaped.
#define LINE_SIZE 16384

static const char *prefix = "";
static enum log_level shown = LOG_LEVEL_INFO;
static bool to_syslog;
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_error[LINE_SIZE];  // under last_lock
static struct {
	void (*before)(void *arg);
	void (*after)(void *arg);
	void *arg;
} around;

void log_init(const char *program, enum log_level level)
{
	prefix = program;
	shown = level;
}

void log_to_syslog(void)
{
	openlog(prefix, LOG_PID, LOG_DAEMON);
	to_syslog = true;
}

void log_around(void (*before)(void *arg), void (*after)(void *arg), void *arg)
{
	around.before = before;
	around.after = after;
	around.arg = arg;
}

bool log_enabled(enum log_level level)
{
	return level <= shown;
}

// A name in a guest may hold what moves a terminal's cursor or forges a line of a log.
static void escape(const char *text, char *ret, size_t size)
{
	size_t used = 0;

	while (*text && used + 5 < size) {
		uint32_t code;
		size_t len = utf8_decode((const unsigned char *)text, &code);
		if (len > 0 && utf8_is_printable(code)) {
			memcpy(ret + used, text, len);
			used += len;
			text += len;
			continue;
		}
		used += (size_t)snprintf(ret + used, size - used, "\\x%02x", (unsigned char)*text++);
	}
	ret[used] = '\0';
}

static void remember(const char *text)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&last_lock);
	snprintf(last_error, sizeof(last_error), "%s", text);
}

const char *log_last_error(void)
{
	return last_error;
}

void log_line(enum log_level level, const char *format, ...)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	char line[8192], escaped[LINE_SIZE];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	escape(line, escaped, sizeof(escaped));
	if (level == LOG_LEVEL_ERROR)
		remember(escaped);
	if (to_syslog) {
		syslog(priorities[level], "%s", escaped);
		return;
	}
	if (around.before)
		around.before(around.arg);
	fprintf(stderr, "%s: %s\n", prefix, escaped);
	if (around.after)
		around.after(around.arg);
}
