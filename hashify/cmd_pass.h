// hashify [run]: one pass over a pool.
#pragma once

// Returns the exit status.
int cmd_pass(int argc, char **argv);
