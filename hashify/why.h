// Why a file is shared, or is not.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hashify/names.h"
#include "hashify/reason.h"
#include "store/name.h"

struct place;
struct policy;

enum why_state {
	WHY_LINK,       // it is a link to @key, maybe a @damaged one
	WHY_LEFT,       // left alone for @reason; with @err
	WHY_NEXT,       // nothing keeps it from being shared by the next pass: @names has what it is equal to
	WHY_DIFFERENT,  // @names has a file or object of the same content, which differs in @differs
	WHY_ALONE,      // no other file that a pass would share has its content
	WHY_DIRECTORY,  // @links, @files and their bytes count what is beneath
};

struct why {
	enum why_state state;
	bool copied_mark;  // it has a mark, and is no link: a copy of one
	bool damaged;      // the object is in quarantine, or has not the size or mark that its name says
	struct object_key key;
	enum reason reason;
	int err;
	bool is_below_mount;  // of what is left as a mount: that is what it lies in, or is
	char *list;           // owned: why the guest's list of patterns cannot be used; NULL: @err tells
	unsigned differs;     // of enum identity_field
	bool gives_rights;    // what differs gives rights, and no pass ignores it
	struct names names;   // owned
	bool is_held;  // of what is left as hard-linked: guests have it in common, and no pass has made it
	uint64_t elsewhere;               // of a link: further names, in no guest that could be looked into
	uint64_t links, files;            // of a directory: links, other regular files
	uint64_t link_bytes, file_bytes;  // of the links, and of what a pass may share
	uint64_t errors;                  // what could not be looked into: @names, or these, are not all
};

// Finds out about @at by reading alone, for passes with @policy that ignore @ignored, of enum identity_field.
// -ENOENT, -EACCES, -ENOMEM…
int why_find(const struct place *at, const struct policy *policy, unsigned ignored, struct why *ret);
void why_free(struct why *w);
