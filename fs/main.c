#include "fs/daemon.h"
#include "fs/options.h"
#include "fs/super.h"
#include "store/base/log.h"

int main(int argc, char **argv)
{
	struct options opt;
	int status;

	log_init("hashfs", LOG_LEVEL_INFO);
	if (options_parse(argc, argv, &opt, &status)) {
		if (!opt.foreground && daemon_start() < 0)
			log_error("cannot start a process; trying again later may help");
		else
			status = super_run(&opt);
	}
	options_free(&opt);
	return status;
}
