// Make one system call fail: the next call of the C library's function @call in this process returns -1 with
// @error. For those that fault.c stands in front of.
#pragma once

void fault_next(const char *call, int error);

// Was the fault met? And none is pending afterwards.
int fault_was_met(void);
