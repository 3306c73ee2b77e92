// hashify stat: what the guests of a pool share.
#pragma once

// Returns the exit status.
int cmd_stat(int argc, char **argv);
