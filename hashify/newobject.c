#include "hashify/newobject.h"

#include <errno.h>

#include "store/copy.h"
#include "store/object.h"

bool newobject_may_be(const struct reading *r, const struct pages *pages)
{
	uint64_t size = (uint64_t)r->claim.st.st_size;
	bool dropped = pages_drop_all(r->claim.fd, size);
	pages_bring_back(r->claim.fd, size, pages);
	return dropped;
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

static int open_copy(struct store *s, struct reader *reader, const struct object_key *key,
		     struct reading *ret)
{
	int err = reader_open_object(s, key, ret);
	if (err < 0)
		return err;
	err = reader_hash(reader, ret);
	if (err == 0 && digest_equal(ret->digest, key->digest))
		return 0;
	object_disown(s, ret->claim.fd, key);
	reader_close(ret);
	return err < 0 ? err : -ESTALE;
}

int newobject_of_copy(struct store *s, struct reader *reader, const struct reading *r, bool flush,
		      struct object_key *key, struct reading *ret)
{
	int err;

	while ((err = copy_to_object(s, r->claim.fd, key, flush)) == -EEXIST)
		key->variant++;
	return err < 0 ? err : open_copy(s, reader, key, ret);
}
