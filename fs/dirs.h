// The directories that requests came to last, kept open: opening one by its handle and closing it takes 3 µs,
// and a change of a name comes with a look-up before it and a question for the directory's attributes after
// it.
#pragma once

#include <pthread.h>
#include <stdint.h>

struct hashfs;
struct node;

#define DIRS_KEPT 4

struct kept_dir {
	const struct node *node;  // NULL: none
	int fd;                   // owned
	unsigned users;
	uint64_t used;  // when, by dirs.uses
};

struct dirs {
	pthread_mutex_t lock;  // guards all below
	struct kept_dir kept[DIRS_KEPT];
	uint64_t uses;
};

void dirs_init(struct dirs *d);
void dirs_destroy(struct dirs *d);

// An O_PATH fd of a directory, for one request. For use with auto_dir.
struct open_dir {
	struct hashfs *fs;
	int fd;  // or -errno
};

#define auto_dir __attribute__((cleanup(dirs_close)))

struct open_dir dirs_open(struct hashfs *fs, struct node *n);
void dirs_close(struct open_dir *dir);

// @n, which no request is at, goes away.
void dirs_forget(struct hashfs *fs, const struct node *n);
