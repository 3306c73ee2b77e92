// What is mounted: from the source's path to its pool, store, lock, registration and root node.
#pragma once

struct hashfs;
struct store;

struct source {
	struct hashfs *fs;
	char *pool_path;  // owned
	char *path;       // owned; of the source, in the pool
	struct store
		*store;  // owned; with the ids that are on the disk; until the mount's own takes its lock
	int registered;  // owned: the registration
};

// Opens all of that for the source that @fs->opt names, and says in a sentence what is wrong. source_close()
// follows, whatever came of it. Returns 0 or a negative errno.
int source_open(struct source *s, struct hashfs *fs);
void source_close(struct source *s);
