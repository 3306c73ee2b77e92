// Which names of a guest a pass leaves alone. Patterns as in a .gitignore file:
//
//	*.log           a name at any depth
//	/var/log/       from the guest's root on: the pattern has a slash that is not its last byte, or begins
// with one 	build/          only directories 	/srv/**/cache   any number of directories between
//	!/var/log/old   not left alone after all; of all patterns that match a name, the last one counts
//
// What is beneath a directory that is left alone is left alone, whatever comes later. Patterns and names may
// both be chosen by an enemy.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct exclude;
struct exclude_node;

struct exclude *exclude_new(void);
void exclude_free(struct exclude *x);

// Adds a pattern, after all there are. -EINVAL: it is empty, has a part that no name can be, empty ("a//b"),
// "." or "..", begins with a blank, or is longer than a path may be; -ENOMEM.
int exclude_add(struct exclude *x, const char *pattern);

// The guest's root, where patterns begin, is the directory @name in that where the walk begins. What is
// beside it is left alone, whatever they say. -ENOMEM.
int exclude_set_root(struct exclude *x, const char *name);

// What was set, or NULL.
const char *exclude_root(const struct exclude *x);

// Adds those of a text, one a line; a byte order mark before it does not count; what begins with '#' and
// empty lines are none. A line that is no pattern (a NUL in it as well) is passed over; returns the number of
// the first such line, 0: there was none, or -ENOMEM.
int exclude_add_text(struct exclude *x, const char *text, size_t size);

// Where a walk is: which patterns may go on matching. States of the directories on the way down lie above
// each other.
struct exclude_stack {
	const struct exclude_node **nodes;  // owned
	size_t count, capacity;
};

// Pushes the state of where the walk begins, or that of the directory @name in the one whose state lies from
// @from up to @to on the stack. -ENOMEM; -ENOBUFS: it would take megabytes, as patterns made for that do deep
// down.
int exclude_push_root(const struct exclude *x, struct exclude_stack *s);
int exclude_push(struct exclude_stack *s, size_t from, size_t to, const char *name);
void exclude_stack_free(struct exclude_stack *s);

// Is @name, in the directory whose state lies from @from up to @to, to be left alone?
bool exclude_match(const struct exclude *x, const struct exclude_stack *s, size_t from, size_t to,
		   const char *name, bool is_dir);
