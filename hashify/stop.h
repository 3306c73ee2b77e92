// SIGINT and SIGTERM ask a pass to stop between two files; the second such signal ends the program at once.
#pragma once

#include <stdbool.h>

void stop_init(void);

bool stop_asked(void);

// What was asked for so far is done with: what follows is not stopped by it.
void stop_forget(void);

// The signal that asked, or 0.
int stop_signal(void);
