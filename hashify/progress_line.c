#include "hashify/progress_line.h"

#include "hashify/text.h"
#include "store/base/cleanup.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BAR_MIN 6
#define BAR_MAX 40
#define GUEST_MIN 8

// The pieces of a bar's line, from left to right.
enum piece {
	PIECE_PHASE,
	PIECE_PERCENT,
	PIECE_BAR,
	PIECE_BYTES,
	PIECE_FILES,
	PIECE_RATE,
	PIECE_LEFT,
	PIECE_FREED,
	PIECE_GUEST,
	PIECE_COUNT
};

// What a narrow terminal does without, in this order.
static const enum piece dropped[] = { PIECE_FILES, PIECE_RATE, PIECE_GUEST, PIECE_BYTES,
				      PIECE_FREED, PIECE_BAR,  PIECE_LEFT,  PIECE_PHASE };

struct pieces {
	char text[PIECE_COUNT][160];
};

static const char *phase_text(enum progress_phase phase)
{
	static const char *const texts[] = { "reading the store", "walking",   "reading",
					     "flushing",          "verifying", "looking for names" };
	return texts[phase];
}

// A character that is wide takes two columns; which are is not looked up: what might be is taken to be.
static unsigned columns_of(const char *text)
{
	unsigned columns = 0;
	for (const unsigned char *s = (const unsigned char *)text; *s; s++)
		if ((*s & 0xc0) != 0x80)
			columns += *s >= 0xe1 ? 2 : 1;
	return columns;
}

static size_t character_length(const char *s)
{
	size_t len = 1;
	while (((unsigned char)s[len] & 0xc0) == 0x80)
		len++;
	return len;
}

// Ends @text where it exceeds @columns, with a mark when there is room for one.
static void cut(char *text, unsigned columns)
{
	if (columns_of(text) <= columns)
		return;
	const unsigned mark = columns > 4 ? 2 : 0;
	unsigned used = 0;
	char *end = text;
	while (*end) {
		unsigned width = (unsigned char)*end >= 0xe1 ? 2 : 1;
		if (used + width > columns - mark)
			break;
		used += width;
		end += character_length(end);
	}
	memset(end, '.', mark);
	end[mark] = '\0';
}

// "812", "1.2G": as short as can be.
static void print_size(char *ret, size_t size, uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	double value = (double)bytes;
	size_t unit = 0;
	for (; value >= 999.5 && unit + 1 < sizeof(units) - 1; unit++)
		value /= 1024;
	snprintf(ret, size, unit > 0 && value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

static void print_time(char *ret, size_t size, double seconds)
{
	if (!(seconds < 1e9)) {
		snprintf(ret, size, "never");
		return;
	}
	uint64_t s = (uint64_t)seconds, minutes = s / 60, hours = minutes / 60;
	if (hours >= 100)
		snprintf(ret, size, "%" PRIu64 "d", hours / 24);
	else if (hours > 0)
		snprintf(ret, size, "%" PRIu64 ":%02u:%02u", hours, (unsigned)(minutes % 60),
			 (unsigned)(s % 60));
	else
		snprintf(ret, size, "%u:%02u", (unsigned)minutes, (unsigned)(s % 60));
}

// Parts of 1000; all of it only when all of it is done. By bytes, or by files where no file has any.
static unsigned permille(const struct progress_state *s)
{
	uint64_t done = s->total_bytes > 0 ? s->bytes : s->files;
	uint64_t total = s->total_bytes > 0 ? s->total_bytes : s->total_files;
	if (done >= total)
		return s->files >= s->total_files ? 1000 : 999;
	double parts = 1000 * ((double)done / (double)total);
	return parts < 999 ? (unsigned)parts : 999;
}

static void print_guest(char *ret, size_t size, const char *guest)
{
	auto_free char *text = text_printable(guest);
	snprintf(ret, size, "%s", text ? text : "");
	// The name may have been longer than the buffer, and cut within a character.
	size_t len = strlen(ret), start = len;
	while (start > 0 && ((unsigned char)ret[start - 1] & 0xc0) == 0x80)
		start--;
	if (text && strlen(text) > len && start > 0)
		ret[start - 1] = '\0';
}

static void print_freed(char *ret, size_t size, const struct progress_state *s)
{
	char freed[16];
	print_size(freed, sizeof(freed), s->freed);
	snprintf(ret, size, "%s %s", s->dry_run ? "would free" : "freed", freed);
}

static void make_reading(const struct progress_state *s, struct pieces *p)
{
	char done[16], total[16];

	snprintf(p->text[PIECE_PERCENT], sizeof(p->text[0]), "%3u%%", permille(s) / 10);
	snprintf(p->text[PIECE_BAR], sizeof(p->text[0]), "%*s", BAR_MIN, "");
	print_size(done, sizeof(done), s->bytes);
	print_size(total, sizeof(total), s->total_bytes);
	snprintf(p->text[PIECE_BYTES], sizeof(p->text[0]), "%s/%s", done, total);
	snprintf(p->text[PIECE_FILES], sizeof(p->text[0]), "%" PRIu64 "/%" PRIu64 " files", s->files,
		 s->total_files);
	if (s->rate >= 0) {
		print_size(done, sizeof(done), (uint64_t)s->rate);
		snprintf(p->text[PIECE_RATE], sizeof(p->text[0]), "%s/s", done);
	}
	if (s->left >= 0) {
		print_time(done, sizeof(done), s->left);
		snprintf(p->text[PIECE_LEFT], sizeof(p->text[0]), "ETA %s", done);
	}
	print_freed(p->text[PIECE_FREED], sizeof(p->text[0]), s);
}

static void make_other(const struct progress_state *s, struct pieces *p)
{
	snprintf(p->text[PIECE_PHASE], sizeof(p->text[0]), "%s", phase_text(s->phase));
	print_time(p->text[PIECE_LEFT], sizeof(p->text[0]), s->elapsed);
	if (s->phase == PROGRESS_WALK)
		snprintf(p->text[PIECE_BYTES], sizeof(p->text[0]), "%" PRIu64 " names", s->seen);
	if (s->phase == PROGRESS_FLUSH)
		print_freed(p->text[PIECE_FREED], sizeof(p->text[0]), s);
}

// With a space between each two.
static unsigned total_columns(const struct pieces *p)
{
	unsigned total = 0;
	for (int i = 0; i < PIECE_COUNT; i++)
		if (p->text[i][0] != '\0')
			total += columns_of(p->text[i]) + (total > 0);
	return total;
}

static void make_fit(struct pieces *p, unsigned columns)
{
	unsigned guest = columns / 5;
	cut(p->text[PIECE_GUEST], guest > GUEST_MIN ? guest : GUEST_MIN);
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]) && total_columns(p) > columns; i++)
		p->text[dropped[i]][0] = '\0';
	if (total_columns(p) > columns)
		p->text[PIECE_PERCENT][0] = '\0';
}

// The bar takes what room is left.
static void draw_bar(struct pieces *p, const struct progress_state *s, unsigned columns)
{
	char *bar = p->text[PIECE_BAR];
	if (bar[0] == '\0')
		return;
	unsigned width = columns - total_columns(p) + BAR_MIN;
	if (width > BAR_MAX)
		width = BAR_MAX;
	unsigned filled = (width - 2) * permille(s) / 1000;
	bar[0] = '[';
	memset(bar + 1, '#', filled);
	memset(bar + 1 + filled, '-', width - 2 - filled);
	bar[width - 1] = ']';
	bar[width] = '\0';
}

struct progress_line progress_line_bar(const struct progress_state *s, unsigned width)
{
	unsigned columns = width > 0 ? width - 1 : 0;
	struct progress_line ret = { "" };
	struct pieces p = { 0 };

	if (s->phase == PROGRESS_READ)
		make_reading(s, &p);
	else
		make_other(s, &p);
	if (s->guest)
		print_guest(p.text[PIECE_GUEST], sizeof(p.text[0]), s->guest);
	make_fit(&p, columns);
	draw_bar(&p, s, columns);

	size_t used = 0;
	for (int i = 0; i < PIECE_COUNT; i++)
		if (p.text[i][0] != '\0')
			used += (size_t)snprintf(ret.text + used, sizeof(ret.text) - used, "%s%s",
						 used > 0 ? " " : "", p.text[i]);
	return ret;
}

struct line {
	struct progress_line *ret;
	size_t used;
};

static void __attribute__((format(printf, 2, 3))) append(struct line *l, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = vsnprintf(l->ret->text + l->used, sizeof(l->ret->text) - l->used, format, args);
	va_end(args);
	l->used += (size_t)len;
	if (l->used >= sizeof(l->ret->text))
		l->used = sizeof(l->ret->text) - 1;
}

static bool is_counted(enum progress_phase phase)
{
	return phase == PROGRESS_READ || phase == PROGRESS_VERIFY;
}

static void append_reading(struct line *l, const struct progress_state *s)
{
	char left[32];

	append(l, ": %u %%, %s of %s, %" PRIu64 " of %" PRIu64 " %s", permille(s) / 10,
	       text_size(s->bytes).text, text_size(s->total_bytes).text, s->files, s->total_files,
	       s->phase == PROGRESS_READ ? "files" : "objects");
	if (s->rate >= 0)
		append(l, ", %s/s", text_size((uint64_t)s->rate).text);
	if (s->left >= 0) {
		print_time(left, sizeof(left), s->left);
		append(l, ", %s left", left);
	}
}

struct progress_line progress_line_plain(const struct progress_state *s)
{
	struct progress_line ret = { "" };
	struct line l = { .ret = &ret };
	char text[160];

	append(&l, "%s", phase_text(s->phase));
	if (is_counted(s->phase)) {
		append_reading(&l, s);
	} else {
		print_time(text, sizeof(text), s->elapsed);
		append(&l, " for %s", text);
	}
	if (s->phase == PROGRESS_WALK)
		append(&l, ", %" PRIu64 " names", s->seen);
	if (s->phase == PROGRESS_READ || s->phase == PROGRESS_FLUSH)
		append(&l, ", %s %s", text_size(s->freed).text, s->dry_run ? "would be freed" : "freed");
	if (s->guest) {
		print_guest(text, sizeof(text), s->guest);
		append(&l, ", at %s", text);
	}
	return ret;
}
