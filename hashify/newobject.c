#include "hashify/newobject.h"

#include <errno.h>
#include <fcntl.h>

#include "store/base/cleanup.h"
#include "store/base/fd.h"
#include "store/base/sys.h"
#include "store/content.h"
#include "store/copy.h"
#include "store/object.h"
#include "store/store.h"

bool newobject_may_be(const struct store *s, const struct reading *r)
{
	return !sys_is_dax(r->claim.fd) && !(s->is_xfs && sys_shares_blocks(r->claim.fd));
}

// A guest may have changed its file meanwhile, natively and without opening it for writing. From here on it
// has two names, and so tells every guest that it is shared.
int newobject_of_file(struct store *s, const struct reading *r, struct object_key *key)
{
	int err;

	while ((err = object_adopt(s, r->claim.fd, &r->claim.st, key)) == -EEXIST)
		key->variant++;
	if (err < 0 || reader_holds(r, true))
		return err;
	err = object_disown(s, r->claim.fd, key);
	return err < 0 ? err : -ESTALE;
}

// Whoever holds a page of the file may have written to it since it was hashed.
static int adopt_if_sound(struct store *s, struct reader *reader, struct reading *copy,
			  struct object_key *key)
{
	int r = reader_hash(reader, copy);
	if (r < 0)
		return r;
	return digest_equal(copy->digest, key->digest) ? copy_adopt(s, copy->claim.fd, key) : -ESTALE;
}

// What is open for writing cannot be claimed.
static int open_to_read(int copy)
{
	int fd = open(fd_path(copy).text, O_RDONLY | O_CLOEXEC | O_NOATIME);
	return fd < 0 ? -errno : fd;
}

static int copy_and_adopt(struct store *s, struct reader *reader, const struct reading *r,
			  struct object_key *key, struct reading *ret)
{
	struct stat st;
	const struct content_watch watch = { reader_look_around, reader };
	int copy = copy_for_object(s, r->claim.fd, &watch, &st);
	if (copy < 0)
		return copy;
	auto_close int fd = open_to_read(copy);
	fd_close(copy);
	if (fd < 0)
		return fd;
	int err = reader_claim(fd, key->identity, ret);
	if (err < 0)
		return err;
	take_fd(&fd);
	err = adopt_if_sound(s, reader, ret, key);
	if (err < 0)
		reader_close(ret);
	return err;
}

int newobject_of_copy(struct store *s, struct reader *reader, const struct reading *r, struct object_key *key,
		      struct reading *ret)
{
	reader_watch(reader, r);
	int err = copy_and_adopt(s, reader, r, key, ret);
	reader_watch_no_more(reader);
	return err;
}

void newobject_forget(struct store *s, const struct reading *object, const struct object_key *key)
{
	struct stat st;

	if (fstat(object->claim.fd, &st) == 0 && st.st_nlink == 1)
		object_disown(s, object->claim.fd, key);
}
