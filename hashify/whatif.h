// About how much more each part of the identity that could be ignored would free, by what is known without
// reading: so that the user can decide. Files of one size and name, and objects of that size, that differ in
// nothing else are taken to have the same content, unless all of these files were hashed: then digests tell,
// whatever the names.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "hashify/tree.h"
#include "store/digest.h"

struct classes;
struct known;
struct store;

struct whatif {
	uint64_t mtime, owner, mode, xattrs;  // bytes
};

// What of @st tells files apart, as it is kept for each of them.
uint32_t whatif_traits(const struct stat *st);

// What the pass finds out about a file is added to its traits.
#define WHATIF_ALONE UINT32_C(0x20000000)   // no other is identical
#define WHATIF_OBJECT UINT32_C(0x40000000)  // it became an object; in a dry run, would
#define WHATIF_XATTRS UINT32_C(0x80000000)  // objects that agree in all else have other xattrs

// The pass that there was.
struct whatif_pass {
	const struct classes *classes;  // borrowed, as all here
	const struct tree *trees;
	int pool;
	const struct known *known;
	struct store *store;  // NULL: none
	unsigned ignored;     // of enum identity_field
	bool dry_run;         // what would become objects can still be one
};

// Is there an object of the content @digest that only xattrs keep @f from? The pass is done with @f: its
// class and row, which nobody needs any more, have the digest for whatif_add().
bool whatif_has_twin(const struct whatif_pass *p, struct tree_file *f, struct digest digest);

// Adds what the files of @p, with which it is done, would free to @ret. -ENOMEM.
int whatif_add(const struct whatif_pass *p, struct whatif *ret);
