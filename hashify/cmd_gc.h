// hashify gc: remove objects that no link is left to.
#pragma once

// Returns the exit status.
int cmd_gc(int argc, char **argv);
