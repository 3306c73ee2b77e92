// Break: turn a link into a private file, so that what follows changes this guest alone.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct hashfs;
struct node;

#define BREAK_KEEP_ALL UINT64_MAX

// BROKEN_SHORTENED: the copy is shorter than the link was, but has its times.
enum broken { WAS_PRIVATE, BROKEN, BROKEN_SHORTENED };

// No errno: nothing has changed, and the whole request is to be handed to later_serve().
#define BREAK_TAKES_LONG (-4096)

// Makes @n private if it is a link: copies the first @keep bytes and all metadata to a new file in the
// store's tmp/, then puts that in the name's place in one step. Reads and opens of other kinds go on
// meanwhile. Returns enum broken. -ENOSPC, -EDQUOT, -EIO…: nothing has changed. BREAK_TAKES_LONG: there is
// more than a MiB to copy, or a break of the same node is under way, and this thread is not patient. The
// caller of the system call needs no right on the directory: the kernel checked those it needs on the file
// before we were asked.
int break_link(struct hashfs *fs, struct node *n, uint64_t keep);

// The same. *@ret_copy is the private copy where there is a new one, open for reading and writing, which the
// caller owns: what is left to do to a shortened file needs no fd that it might not get.
int break_link_open(struct hashfs *fs, struct node *n, uint64_t keep, int *ret_copy);

// May break_link() take long in this thread, and wait for others, from now on?
void break_be_patient(bool patient);
bool break_is_patient(void);
