#include "hashify/reason.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

static const struct {
	const char *key, *text;
} reasons[REASON_COUNT] = {
	[REASON_NONE] = { "none", "not skipped" },
	[REASON_ALONE] = { "alone", "no other file is identical" },
	[REASON_EMPTY] = { "empty", "empty file" },
	[REASON_SMALL] = { "small", "smaller than --min-size" },
	[REASON_EXCLUDED] = { "excluded", "excluded by name" },
	[REASON_HOLES] = { "holes", "larger than 1 MiB, and nearly all holes" },
	[REASON_DEEP] = { "deep", "more than 10,240 directories deep" },
	[REASON_SYMLINK] = { "symlink", "symbolic link" },
	[REASON_SPECIAL] = { "special", "device, FIFO or socket" },
	[REASON_HARD_LINKED] = { "hard_linked", "hard-linked, but not by hashify" },
	[REASON_DAMAGED] = { "damaged", "a link to a damaged object; hashify verify names it" },
	[REASON_FLAGS] = { "flags", "immutable, append-only, verity or encrypted, or its directory is" },
	[REASON_READ_ONLY] = { "read_only",
			       "not to be written by its owner, and only root can mark such a file" },
	[REASON_LARGE_XATTRS] = { "large_xattrs", "more than 256 KiB of extended attributes" },
	[REASON_MOUNT] = { "mount", "another filesystem, a mount point, or mounted by itself" },
	[REASON_SUBVOLUME] = { "subvolume", "another subvolume or project" },
	[REASON_IN_USE] = { "in_use", "open for writing or mapped writable" },
	[REASON_CHANGED] = { "changed", "changed during the pass" },
	[REASON_STOPPED] = { "stopped", "not reached before the pass was stopped" },
	[REASON_PERMISSION] = { "permission", "no permission" },
	[REASON_LEASE] = { "lease", "cannot be guarded against writers: no leases on this filesystem" },
	[REASON_READ] = { "read", "cannot be read" },
	[REASON_DISK] = { "disk",
			  "not on the disk as it is in memory, since writing it failed: copy it while it is there" },
	[REASON_LINK] = { "link", "cannot be linked" },
	[REASON_POLICY] = { "policy",
			    "the guest's etc/hashify.exclude cannot be used, so all of it is left alone" },
	[REASON_SERVED] = { "served",
			    "in a guest with a store of its own, which a mount or another hashify uses, so all of it is left "
			    "alone" },
};

const char *reason_key(enum reason r)
{
	assert(r < REASON_COUNT);
	return reasons[r].key;
}

const char *reason_text(enum reason r)
{
	assert(r < REASON_COUNT);
	return reasons[r].text;
}

bool reason_is_error(enum reason r)
{
	return r >= REASON_PERMISSION;
}

enum reason reason_of_reading(int err)
{
	switch (-err) {
	case ENOENT:   // gone, or its directory is
	case ENOTDIR:  // something else has its name
	case ELOOP:
	case ENXIO:
	case ESTALE:  // our own word for: not the file that the walk saw
		return REASON_CHANGED;
	case EINTR:
		return REASON_STOPPED;
	case EAGAIN:
	case ETXTBSY:
		return REASON_IN_USE;
	case E2BIG:
		return REASON_LARGE_XATTRS;
	case EXDEV:
		return REASON_MOUNT;
	case EACCES:
	case EPERM:
		return REASON_PERMISSION;
	case EOPNOTSUPP:
		return REASON_LEASE;
	default:
		return REASON_READ;
	}
}

enum reason reason_of_linking(int err)
{
	switch (-err) {
	case EXDEV:
		return REASON_SUBVOLUME;
	case ENOENT:
	case ESTALE:
		return REASON_CHANGED;
	case EINTR:
		return REASON_STOPPED;
	case EAGAIN:
		return REASON_IN_USE;
	case EBUSY:  // something is mounted on the name
		return REASON_MOUNT;
	case EACCES:
	case EPERM:
		return REASON_PERMISSION;
	default:
		return REASON_LINK;
	}
}

void tally_add(struct tally *sum, const struct tally *part)
{
	sum->directories += part->directories;
	sum->seen += part->seen;
	sum->bad_objects += part->bad_objects;
	sum->if_xattrs += part->if_xattrs;
	sum->later += part->later;
	sum->already += part->already;
	sum->restored += part->restored;
	sum->marked += part->marked;
	sum->objects += part->objects;
	sum->linked += part->linked;
	sum->freed += part->freed;
	sum->kept += part->kept;
	sum->read += part->read;
	for (int i = 0; i < REASON_COUNT; i++)
		sum->skipped[i] += part->skipped[i];
}

uint64_t tally_errors(const struct tally *t)
{
	uint64_t sum = t->bad_objects;
	for (int i = 0; i < REASON_COUNT; i++)
		sum += reason_is_error(i) ? t->skipped[i] : 0;
	return sum;
}
