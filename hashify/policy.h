// What a pass leaves alone in each guest: by default what is likely to be written to, which would cost a
// private copy; what tells machines apart; and secrets, which are not even looked for in other guests. The
// guest may add to that, and the command line has the last word.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "hashify/exclude.h"
#include "hashify/names.h"

// In a guest, from its root on: patterns of its own.
#define POLICY_GUEST_DIR "etc"
#define POLICY_GUEST_FILE "hashify.exclude"  // in that
#define POLICY_GUEST_FILE_SIZE 16384

// Where LXC and Incus have a container's root, and OCI bundles have, beside files of the host's. A guest has
// that layout if neither of two directories that every system has is at its top, but in there.
#define POLICY_ROOTFS "rootfs"

// For messages.
#define POLICY_PATTERN "like *.log, /var/log/ or !/etc/, with no blank before it and no part that is . or .."

struct policy {
	bool no_defaults;
	struct names guests;  // owned: the only ones to be walked; none: all
	uint64_t min_size;    // files below are left alone
	char *text;           // owned: patterns of the command line, one a line
	size_t text_size;
};

void policy_free(struct policy *p);

// Adds a pattern, or the lines of a file ("-": standard input). -EINVAL: it is no pattern (in line
// *@ret_line); -ENOMEM, or the error of reading the file.
int policy_add_pattern(struct policy *p, const char *pattern);
int policy_add_file(struct policy *p, const char *path, int *ret_line);

int policy_add_guest(struct policy *p, const char *name, size_t length);
bool policy_wants_guest(const struct policy *p, const char *name);

// Makes the set for the guest whose directory in the pool is open as @top. *@ret_error tells why its own file
// could not be used: 0 it could, or there is none; *@ret_line is the line that is no pattern, or 0. -ENOMEM.
int policy_exclude(const struct policy *p, int top, struct exclude **ret, int *ret_error, int *ret_line);

// The guest's own file that could not be used: in the root of the guest, or in POLICY_ROOTFS.
struct policy_fault {
	bool in_rootfs;
	int line;  // that is no pattern; 0: none
};

// Is the file @path of @pool, "GUEST/…", left alone by name? 1 or 0; or the error of the guest's own file,
// with which all of the guest is left alone, and what is wrong with it in *@ret.
int policy_excludes(const struct policy *p, int pool, const char *path, struct policy_fault *ret);

// Prints the default patterns with their reasons, as a file of patterns.
void policy_print_defaults(FILE *f);
