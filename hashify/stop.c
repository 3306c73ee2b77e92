#include "hashify/stop.h"

#include <signal.h>
#include <stdatomic.h>

static atomic_int stop_flag;

static void on_signal(int signal)
{
	atomic_store_explicit(&stop_flag, signal, memory_order_relaxed);
}

void stop_init(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)(SA_RESETHAND | SA_RESTART) };
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

int stop_signal(void)
{
	return atomic_load_explicit(&stop_flag, memory_order_relaxed);
}

void stop_forget(void)
{
	atomic_store_explicit(&stop_flag, 0, memory_order_relaxed);
}

bool stop_asked(void)
{
	return stop_signal() != 0;
}
