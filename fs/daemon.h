// Go to the background, but only once the mount works: whoever started us learns by our exit status whether
// it does, and reads why not.
#pragma once

// Forks. The parent waits until the child says daemon_ready(), and then exits with 0, or until the child
// ends, and then exits with its status. Returns in the child. -EAGAIN: no process can be made.
int daemon_start(void);

// Tells the parent, leaves its session and terminal; messages go to syslog from now on. Does nothing without
// daemon_start().
void daemon_ready(void);
