// A mount as a whole: from the source's path to the end of the session.
#pragma once

struct options;

// Mounts, serves until the mount is gone, cleans up. Says what went wrong and returns the program's exit
// status.
int super_run(const struct options *opt);
