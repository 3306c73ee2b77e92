// Nodes: what a nodeid of the kernel stands for.
//
// A directory, private file or special file is one node per backing inode, so that a guest's own hard links
// stay one file. A link is one node per *name*, (parent, name): two names of one object are two files to the
// guest. A break turns the second kind into the first, under the same nodeid.
//
// While a node is open in passthrough its opens stay with the inode they began with (backing.h). If the name
// got a private copy meanwhile the node is *split*: `at` is the guest's file, `backing` what the open
// descriptors read. An open of a split node is answered with ESTALE: the kernel looks the name up again and
// gets a new node for `at`.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fs/backing.h"
#include "fs/handle.h"
#include "store/base/list.h"

struct fuse_entry_param;
struct hashfs;

enum io_mode { IO_PASSTHROUGH, IO_CACHED };

// There are millions: 168 bytes, and a link's name.
struct node {
	// Under hashfs.table_lock.
	uint64_t refs;         // look-ups the kernel counts, and our own
	uint64_t key;          // in hashfs.nodes
	struct list detached;  // in hashfs.detached while a look-up cannot find it
	struct node *parent;   // of a link that has a name: counted reference
	char *name;            // of a link that has a name: owned
	uint32_t seq;          // of a directory: moves when a name in it changes
	bool link;  // a break makes it false, nothing makes it true again; changes under node_lock() as well
	bool unlinked;    // its last name in this guest is gone
	bool publishing;  // of a directory: a name in it is being given another inode

	bool breaking;  // under hashfs.break_lock

	unsigned runners;  // under node_lock(): those of the opens that run it

	pthread_mutex_t *names;  // of a directory: owned; held while names in it change
	uint64_t ino;            // what the guest sees; constant
	mode_t type;             // S_IFMT bits; constant

	// Under node_lock().
	unsigned opens;           // of regular files
	struct handle at;         // the guest's file
	unsigned writers;         // those of the opens that may write
	enum io_mode mode : 8;    // while opens > 0
	bool diverged;            // what a path reaches by this node is no more what its descriptors read
	bool emptied;             // by an open with O_TRUNC that may still be open
	bool shadowed;            // a newer node stands for the same file: neither may cache attributes
	struct backing *backing;  // counted; what opens in passthrough read and write
	struct list files;        // struct file of mode IO_CACHED
	struct stat *last;        // owned; of a file that may be deleted, for which no fd was kept, or NULL
};

// The lock of @n, which it has in common with others, as one of its own would be a fifth of its size. Nobody
// holds two.
pthread_mutex_t *node_lock(struct hashfs *fs, const struct node *n);

// Makes the root of the mount from *@fd, an O_PATH fd that may be taken. Returns a counted reference in @ret.
int node_root(struct hashfs *fs, int *fd, struct node **ret);

// Finds @name in @parent, fills @ret for the reply and counts a look-up, which the kernel gives back by
// forget. -ENOENT: no such name, or one that is hidden.
int node_lookup(struct hashfs *fs, struct node *parent, const char *name, struct fuse_entry_param *ret);

// The same, where the directory is open as @dir.
int node_lookup_in(struct hashfs *fs, struct node *parent, int dir, const char *name,
		   struct fuse_entry_param *ret);

// The same for an entry that readdir found. An error also where a look-up by name would end at another node
// than the name has now.
int node_lookup_listed(struct hashfs *fs, struct node *parent, int dir, const char *name,
		       struct fuse_entry_param *ret);

// The same for a private file, *@fd: one that was just made, or is known not to be a link. Takes *@fd, which
// is O_PATH then, where it must be kept: where there are no handles.
int node_lookup_fd(struct hashfs *fs, int *fd, struct fuse_entry_param *ret);

// The inode number the guest sees for an entry that readdir found; @backing_ino is the backing directory's
// word.
uint64_t node_peek_number(struct hashfs *fs, struct node *parent, int dir, const char *name,
			  uint64_t backing_ino);

// The nodeid of @n, and back.
uint64_t node_id(const struct hashfs *fs, const struct node *n);
struct node *node_of(const struct hashfs *fs, uint64_t id);

void node_put(struct hashfs *fs, struct node *n, uint64_t count);

// Opens the guest's file.
int node_open(struct hashfs *fs, struct node *n, int flags);

// Opens what open descriptors read: of a split node the object, else the guest's file. -EBUSY: that is an
// object, and
// @flags are not O_RDONLY.
int node_open_for_descriptor(struct hashfs *fs, struct node *n, int flags);

// The file's status as the guest sees it.
int node_stat(struct hashfs *fs, struct node *n, struct stat *ret);

// Turns the status @st of a node's file into what the guest sees.
void node_guest_stat(const struct node *n, bool link, bool unlinked, struct stat *st);

// How long the kernel may cache the node's attributes, in seconds.
double node_attr_timeout(struct hashfs *fs, struct node *n);

bool node_is_link(struct hashfs *fs, struct node *n);

// Does @n stand for new content to paths and for old content to its descriptors? What is run through one of
// these must not have the rights that the new one has been given.
bool node_lacks_rights(struct hashfs *fs, struct node *n);

// Called with node_lock() held: do its open descriptors read something else than the guest's file?
bool node_is_split(const struct node *n);

// The thread @tid has changed the guest's file as its descriptors do not show: must it be told to look the
// name up again? Not if that does not help, or the node is not split.
bool node_must_look_again(struct hashfs *fs, struct node *n, pid_t tid);

// The directory of a link, as a counted reference. NULL: the link has lost its name.
struct node *node_parent(struct hashfs *fs, struct node *n);

// A break or a rename is about to give a name in @parent another inode, or is done: look-ups wait for the end
// of that, which is here or in node_become_private(). The directory's names are locked.
void node_publishing(struct hashfs *fs, struct node *parent, bool begun);

// Is @n the link of a name in @parent, whose `names` are locked? Then copies that name.
bool node_name_in(struct hashfs *fs, const struct node *n, const struct node *parent, char ret[256]);

// The link @n is a private file from now on, which *@at names; takes what @at owns. Descriptors of cached
// opens read @fd's file from now on. Where @n has a name, its directory's names are locked.
void node_become_private(struct hashfs *fs, struct node *n, struct handle *at, int fd);

// @name in @parent, whose names are locked, is gone. It named *@fd, an O_PATH fd with status @st since;
// takes *@fd where the file must stay reachable without a name.
void node_unlinked(struct hashfs *fs, struct node *parent, const char *name, const struct stat *st, int *fd);

// Called under table_lock: the name of the link @n is another file's now. The caller holds its directory,
// too.
void node_lost_link(struct hashfs *fs, struct node *n);

// Called with node_lock() held: @n, whose status was @st, has no name, or may lose it unnoticed. It stays
// reachable until the kernel forgets it: somebody may have it open, or be on the way from looking it up to
// opening it. Takes
// *@fd, an O_PATH fd of it, for that, unless there are too many: then its handle must do, which does as long
// as it is open (but on tmpfs); who holds it by an O_PATH descriptor alone may still ask for its status.
void node_keep_nameless(const struct hashfs *fs, struct node *n, const struct stat *st, int *fd);

// @n has no name, and may get one: keeps *@fd, an O_PATH fd of it, which is taken.
void node_pin(struct hashfs *fs, struct node *n, int *fd);

// @n, which may have been pinned, has a name now.
void node_unpin(struct hashfs *fs, struct node *n);

// One end of a rename.
struct node_name {
	struct node *parent;  // its names are locked
	const char *name;
	char *copy;  // strdup(@name), made beforehand: what has happened on disk cannot fail here; taken,
		     // becomes NULL
};

// @from is called @to now, and if @exchange, the reverse. What @to named before went to node_unlinked().
void node_renamed(struct hashfs *fs, struct node_name *from, struct node_name *to, bool exchange);

// Frees all nodes: the mount is over.
void node_free_all(struct hashfs *fs);
