#include "hashify/progress.h"

#include "hashify/progress_rate.h"
#include "store/base/cleanup.h"
#include "store/base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define BAR_INTERVAL_MS 200
#define LINE_INTERVAL_S 10
#define UNASKED_INTERVAL_S 60
#define USUAL_WIDTH 80

#define CACHE_LINE 64

// What one worker has done. Nobody waits for anybody: a sum that is a moment old is good enough to show.
struct counters {
	alignas(CACHE_LINE) _Atomic uint64_t seen;
	_Atomic uint64_t files, bytes, freed;
	_Atomic(const char *) guest;  // borrowed; read under the lock of the struct progress
};

// No two locks are held at a time: a terminal that has stopped (Ctrl-S) holds up nobody but who prints.
struct progress {
	struct counters workers[PROGRESS_WORKERS];
	bool dry_run, bar;
	long interval_ms;  // between two drawings; 0: there are none
	pthread_t thread;
	atomic_bool ended;

	pthread_mutex_t lock;  // guards all up to the next lock
	enum progress_phase phase;
	double begun;  // seconds: when the phase began
	uint64_t total_files, total_bytes;
	struct progress_rate rate;

	pthread_mutex_t terminal;    // guards all below, and the line that the cursor is in
	struct progress_line drawn;  // what is there; "": nothing
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct counters *counters_of(struct progress *p, unsigned worker)
{
	return &p->workers[worker % PROGRESS_WORKERS];
}

static void count(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

void progress_seen(struct progress *p, unsigned worker, uint64_t names)
{
	if (p)
		count(&counters_of(p, worker)->seen, names);
}

void progress_add(struct progress *p, unsigned worker, uint64_t files, uint64_t bytes, int64_t freed)
{
	if (!p)
		return;
	struct counters *c = counters_of(p, worker);
	count(&c->files, files);
	count(&c->bytes, bytes);
	if (freed != 0)
		count(&c->freed, (uint64_t)freed);
}

void progress_guest(struct progress *p, unsigned worker, const char *guest)
{
	if (p)
		atomic_store_explicit(&counters_of(p, worker)->guest, guest, memory_order_release);
}

static void sum(struct progress *p, struct progress_state *s)
{
	for (unsigned i = 0; i < PROGRESS_WORKERS; i++) {
		struct counters *c = &p->workers[i];
		s->seen += atomic_load_explicit(&c->seen, memory_order_relaxed);
		s->files += atomic_load_explicit(&c->files, memory_order_relaxed);
		s->bytes += atomic_load_explicit(&c->bytes, memory_order_relaxed);
		s->freed += atomic_load_explicit(&c->freed, memory_order_relaxed);
		if (!s->guest)
			s->guest = atomic_load_explicit(&c->guest, memory_order_acquire);
	}
	if ((int64_t)s->freed < 0)  // put back by one worker, and not yet counted by another
		s->freed = 0;
}

void progress_total(struct progress *p, uint64_t files, uint64_t bytes)
{
	if (!p)
		return;
	struct progress_state done = { 0 };
	sum(p, &done);
	auto_unlock pthread_mutex_t *held = mutex_hold(&p->lock);
	p->total_files = done.files + files;
	p->total_bytes = done.bytes + bytes;
}

void progress_more(struct progress *p, uint64_t files, uint64_t bytes)
{
	if (!p)
		return;
	auto_unlock pthread_mutex_t *held = mutex_hold(&p->lock);
	p->total_files += files;
	p->total_bytes += bytes;
}

void progress_phase(struct progress *p, enum progress_phase phase)
{
	if (!p)
		return;
	auto_unlock pthread_mutex_t *held = mutex_hold(&p->lock);
	p->phase = phase;
	p->begun = now();
	p->rate = (struct progress_rate){ 0 };
	struct progress_state done = { 0 };
	sum(p, &done);
	const struct progress_sample begin = { .time = p->begun, .files = done.files, .bytes = done.bytes };
	progress_rate_take(&p->rate, &begin, &(struct progress_sample){ 0 });
	for (unsigned i = 0; i < PROGRESS_WORKERS; i++)
		progress_guest(p, i, NULL);
}

static struct progress_line make_line(struct progress *p, unsigned width, bool bar)
{
	auto_unlock pthread_mutex_t *held = mutex_hold(&p->lock);
	struct progress_state s = { .phase = p->phase, .dry_run = p->dry_run };
	sum(p, &s);
	s.total_files = p->total_files;
	s.total_bytes = p->total_bytes;

	const struct progress_sample done = { now(), s.files, s.bytes };
	const struct progress_sample total = { 0, s.total_files, s.total_bytes };
	struct progress_speed speed = progress_rate_take(&p->rate, &done, &total);
	s.rate = speed.rate;
	s.left = speed.left;
	s.elapsed = done.time - p->begun;
	return bar ? progress_line_bar(&s, width) : progress_line_plain(&s);
}

static void write_stderr(const char *text)
{
	// It is only shown: a line that is lost is no reason to stop.
	for (size_t left = strlen(text); left > 0;) {
		ssize_t r = write(STDERR_FILENO, text, left);
		if (r < 0 && errno != EINTR)
			return;
		left -= r > 0 ? (size_t)r : 0;
		text += r > 0 ? r : 0;
	}
}

static void erase(struct progress *p)
{
	if (p->drawn.text[0] != '\0')
		write_stderr("\r\033[K");
}

static void draw(struct progress *p)
{
	char text[sizeof(p->drawn.text) + 8];
	if (p->drawn.text[0] == '\0')
		return;
	snprintf(text, sizeof(text), "\r%s\033[K", p->drawn.text);
	write_stderr(text);
}

// These two are called around each line of the log.
static void before_line(void *arg)
{
	struct progress *p = arg;
	mutex_lock(&p->terminal);
	erase(p);
}

static void after_line(void *arg)
{
	struct progress *p = arg;
	draw(p);
	mutex_unlock(&p->terminal);
}

static void say_plain(struct progress *p)
{
	struct progress_line line = make_line(p, 0, false);
	char text[sizeof(line.text) + 16];
	snprintf(text, sizeof(text), "hashify: %s\n", line.text);
	before_line(p);
	write_stderr(text);
	after_line(p);
}

// A program in the background leaves the terminal to the others.
static bool is_in_background(void)
{
	pid_t group = tcgetpgrp(STDERR_FILENO);
	return group >= 0 && group != getpgrp();
}

static unsigned terminal_width(void)
{
	struct winsize size;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return USUAL_WIDTH;
	return size.ws_col;
}

static void draw_bar(struct progress *p)
{
	struct progress_line line = { "" };
	if (!is_in_background())
		line = make_line(p, terminal_width(), true);
	auto_unlock pthread_mutex_t *held = mutex_hold(&p->terminal);
	p->drawn = line;
	draw(p);
}

// Waits until it is time to draw, or for SIGUSR1, which it returns.
static int wait_for_signal(const struct progress *p)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (p->interval_ms == 0)
		return sigwaitinfo(&set, NULL);
	const struct timespec time = { p->interval_ms / 1000, p->interval_ms % 1000 * 1000000 };
	return sigtimedwait(&set, NULL, &time);
}

static void *show(void *arg)
{
	struct progress *p = arg;
	for (;;) {
		int r = wait_for_signal(p);
		int err = r < 0 ? -errno : 0;
		if (atomic_load(&p->ended))
			return NULL;
		if (r == SIGUSR1 || (err == -EAGAIN && !p->bar))
			say_plain(p);
		else if (err == -EAGAIN)
			draw_bar(p);
	}
}

void progress_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static bool is_terminal(void)
{
	const char *term = getenv("TERM");
	return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

static void choose(struct progress *p, const struct progress_options *o)
{
	if (o->when == PROGRESS_NO)
		return;
	p->bar = is_terminal();
	long usual = o->when == PROGRESS_YES ? LINE_INTERVAL_S : UNASKED_INTERVAL_S;
	p->interval_ms = 1000 * (o->interval > 0 ? (long)o->interval : usual);
	if (p->bar)
		p->interval_ms = BAR_INTERVAL_MS;
}

static void progress_free(struct progress *p)
{
	mutex_destroy(&p->lock);
	mutex_destroy(&p->terminal);
	free(p);
}

int progress_start(const struct progress_options *o, struct progress **ret)
{
	struct progress *p = aligned_alloc(CACHE_LINE, sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = (struct progress){ .dry_run = o->dry_run };
	mutex_init(&p->lock);
	mutex_init(&p->terminal);
	choose(p, o);
	progress_phase(p, PROGRESS_STORE);
	log_around(before_line, after_line, p);
	int r = thread_start(&p->thread, "progress", show, p);
	if (r < 0) {
		log_around(NULL, NULL, NULL);
		progress_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void progress_stop(struct progress *p)
{
	if (!p)
		return;
	atomic_store(&p->ended, true);
	pthread_kill(p->thread, SIGUSR1);  // it waits for that
	thread_join(p->thread);
	erase(p);
	log_around(NULL, NULL, NULL);
	progress_free(p);
}
