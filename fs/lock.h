// The lock of a pool's store, for a mount, and what a killed pass has left there.
#pragma once

struct store;

// Takes the lock of @s, the store of the pool @path, shared. Before, what a pass that was killed has left
// there is put in order, as long as nobody has mounted a part of the pool since: a guest would not find what
// it has written to a file that was displaced; and objects that have lost their marks get them again. For
// that @s must show the ids that are on the disk. Says in a sentence what was done, and what is wrong.
// Returns 0 or a negative errno.
int lock_store(struct store *s, const char *path);
