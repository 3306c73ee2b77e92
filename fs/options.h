// The command line of hashfs.
#pragma once

#include <stdbool.h>

enum choice { CHOICE_AUTO, CHOICE_YES, CHOICE_NO };

struct options {
	char *source;      // owned; absolute, without symbolic links
	char *mountpoint;  // owned; likewise
	char *store;       // owned; likewise; NULL: to be found
	char *idmap;       // owned; idmap.h; NULL: ids are those on disk
	bool foreground;
	bool debug;

	bool is_volatile;  // breaks are not flushed to disk before they replace a name
	bool coherent;     // links are read through the daemon, so that open descriptors see breaks; their
			   // memory is not shared
	bool noatime;      // reading moves no access time
	bool readonly;     // nor where nothing may be written
	enum choice passthrough;
	enum choice uring;
	unsigned threads;  // at most
	double cache;      // seconds the kernel may cache names and attributes; < 0: without end

	char *mount;  // owned; options for the kernel and libfuse, separated by commas, "" if none
};

// Parses the command line and prints what is wrong with it, or the help. Returns true to go on, else the
// program ends with *@ret_status.
bool options_parse(int argc, char **argv, struct options *ret, int *ret_status);

void options_free(struct options *o);
