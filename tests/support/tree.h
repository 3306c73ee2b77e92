// A throw-away directory for a test, its own and gone afterwards. Paths are relative to it. Whatever fails
// fails the test.
#pragma once

#include <stddef.h>
#include <sys/stat.h>

struct tree {
	char path[64];
	int dir;  // owned: the directory
	int fds;  // how many this process had open when it was made
};

// cmocka's setup and teardown; the teardown fails on descriptors that the test has left open.
int tree_setup(void **state);
int tree_teardown(void **state);

// Writes a file, and directories on the way to it.
void put(const struct tree *t, const char *path, const char *content);

// Opens a file for reading.
int open_read(const struct tree *t, const char *path);

struct stat status(const struct tree *t, const char *path);

// The whole content, as a string the caller frees.
char *content_of(const struct tree *t, const char *path);

void assert_content(const struct tree *t, const char *path, const char *expected);
void assert_missing(const struct tree *t, const char *path);

// How many names a directory has.
size_t names_in(const struct tree *t, const char *path);
