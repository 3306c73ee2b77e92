#include "fs/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/log.h"

// The child's end of the pipe to the waiting parent: as long as the process exists once.
static int parent = -1;

static void wait_for(pid_t child, int pipe)
{
	char ready;
	int status;

	if (read(pipe, &ready, 1) == 1)
		_exit(0);
	if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
		_exit(1);
	_exit(WEXITSTATUS(status));
}

int daemon_start(void)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid_t child = fork();
	if (child < 0) {
		int r = -errno;
		fd_close(ends[0]);
		fd_close(ends[1]);
		return r;
	}
	if (child > 0) {
		fd_close(ends[1]);
		wait_for(child, ends[0]);
	}
	fd_close(ends[0]);
	parent = ends[1];
	return 0;
}

static void leave_terminal(void)
{
	auto_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	log_to_syslog();
	setsid();
	if (chdir("/") < 0 || null < 0)
		return;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
}

void daemon_ready(void)
{
	if (parent < 0)
		return;
	leave_terminal();
	// A parent that was killed meanwhile needs no answer.
	if (write(parent, "", 1) < 0 && errno != EPIPE)
		log_warning("cannot tell the starting process that the mount works");
	fd_close(take_fd(&parent));
}
