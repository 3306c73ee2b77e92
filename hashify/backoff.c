#include "hashify/backoff.h"

#define MS UINT64_C(1000000)

#define LOOK (500 * MS)           // the least between two looks
#define INTERVAL_MIN (2000 * MS)  // and how that grows while the pressure is ours alone
#define INTERVAL_MAX (8000 * MS)
#define GATHER (100 * MS)  // a file may take longer: then nothing is learnt
#define MEASURE (40 * MS)
#define RUN (200 * MS)  // at a time, while others suffer
#define PAUSE_MAX (2000 * MS)

// Somebody waits for more than a tenth of the time.
#define SUFFERS(waited, time) ((waited) > (time) / 10)

static bool is_pressed(const struct backoff *b, uint64_t now, const struct backoff_pressure *pressure)
{
	for (int i = 0; i < BACKOFF_KINDS; i++)
		if (SUFFERS(pressure->total[i] - b->pressure.total[i], now - b->since))
			return true;
	return false;
}

static void measure_from(struct backoff *b, uint64_t now, const struct backoff_pressure *pressure)
{
	b->since = now;
	b->pressure = *pressure;
}

static void run(struct backoff *b, uint64_t now, uint64_t time, const struct backoff_pressure *pressure)
{
	b->pausing = b->measuring = false;
	b->run_since = now;
	b->until = now + time;
	measure_from(b, now, pressure);
}

static void pause_for(struct backoff *b, uint64_t now, uint64_t time)
{
	b->pausing = true;
	b->measuring = false;
	b->until = now + time;
}

void backoff_init(struct backoff *b, uint64_t now, const struct backoff_pressure *pressure)
{
	*b = (struct backoff){ .share = BACKOFF_FULL, .interval = INTERVAL_MIN };
	run(b, now, INTERVAL_MIN, pressure);
}

static bool are_gathered(const struct backoff *b)
{
	return b->pausing && !b->measuring && b->waiting >= b->workers;
}

bool backoff_due(const struct backoff *b, uint64_t now)
{
	return now >= b->until || are_gathered(b);
}

static void look(struct backoff *b, uint64_t now, const struct backoff_pressure *pressure)
{
	if (b->share < BACKOFF_FULL) {
		uint64_t time = (now - b->run_since) / b->share * (BACKOFF_FULL - b->share);
		pause_for(b, now, time < PAUSE_MAX ? time : PAUSE_MAX);
	} else if (b->suspected || is_pressed(b, now, pressure)) {
		pause_for(b, now, GATHER);
	} else {
		run(b, now, LOOK, pressure);
	}
}

static void others_suffer(struct backoff *b, uint64_t now, const struct backoff_pressure *pressure)
{
	bool again = b->suspected || b->share < BACKOFF_FULL;
	b->suspected = true;
	b->interval = INTERVAL_MIN;
	if (again && b->share > 1)
		b->share /= 2;
	run(b, now, again ? RUN : LOOK, pressure);
}

static void others_are_well(struct backoff *b, uint64_t now, const struct backoff_pressure *pressure)
{
	b->suspected = false;
	if (b->share < BACKOFF_FULL) {
		b->share *= 2;
		run(b, now, b->share < BACKOFF_FULL ? RUN : LOOK, pressure);
		return;
	}
	run(b, now, b->interval, pressure);
	b->interval = b->interval * 2 < INTERVAL_MAX ? b->interval * 2 : INTERVAL_MAX;
}

static void go_on(struct backoff *b, uint64_t now, const struct backoff_pressure *pressure)
{
	if (!b->measuring)
		run(b, now, b->share < BACKOFF_FULL ? RUN : b->interval, pressure);
	else if (is_pressed(b, now, pressure))
		others_suffer(b, now, pressure);
	else
		others_are_well(b, now, pressure);
}

void backoff_step(struct backoff *b, uint64_t now, const struct backoff_pressure *pressure)
{
	if (!b->pausing && now >= b->until)
		look(b, now, pressure);
	if (are_gathered(b)) {
		// A look ends as soon as it can, a pause that makes way not before its time.
		bool is_look = b->share == BACKOFF_FULL;
		b->measuring = true;
		measure_from(b, now, pressure);
		if (is_look || b->until < now + MEASURE)
			b->until = now + MEASURE;
	}
	if (b->pausing && now >= b->until)
		go_on(b, now, pressure);
}
