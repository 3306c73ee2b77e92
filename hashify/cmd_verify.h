// hashify verify: is every object what its name says?
#pragma once

// Returns the exit status.
int cmd_verify(int argc, char **argv);
