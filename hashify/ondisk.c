#include "hashify/ondisk.h"

#include <errno.h>

static int check(const struct ondisk *o, const struct target *t, const struct reading *r)
{
	*o->reread += (uint64_t)r->claim.st.st_size;
	return reader_check_disk(o->reader, r, t->group->digest);
}

void ondisk_renew(const struct ondisk *o, struct reading *r)
{
	if (!o->dry_run && !r->is_fresh && durable_may_drop(o->durable, &r->claim))
		reader_renew(r);
}

int ondisk_read_again(const struct ondisk *o, const struct target *t, struct reading *r)
{
	ondisk_renew(o, r);
	if (!r->is_fresh)
		return 0;
	*o->reread += (uint64_t)r->claim.st.st_size;
	int err = reader_hash(o->reader, r);
	return err == 0 && !digest_equal(r->digest, t->group->digest) ? -ESTALE : err;
}

bool ondisk_stays_fresh(const struct ondisk *o, const struct reading *r)
{
	return r->is_fresh && !o->is_tmpfs && durable_settled(o->durable, &r->claim.st);
}

enum reason ondisk_make(const struct ondisk *o, const struct target *t, const struct reading *r, int *ret_err)
{
	*ret_err = durable_make(o->durable, &r->claim);
	if (*ret_err < 0)
		return reason_of_linking(*ret_err);
	if (!pages_were_there(&t->pages) || !durable_is_unsure(o->durable, &r->claim.st))
		return REASON_NONE;
	*ret_err = check(o, t, r);
	if (*ret_err < 0)
		return reason_of_reading(*ret_err);
	return *ret_err == READER_SAME ? REASON_NONE : REASON_DISK;
}

int ondisk_find(const struct ondisk *o, struct target *t, const struct reading *r)
{
	if (t->is_on_disk || !durable_is_unsure(o->durable, &r->claim.st))
		return 0;
	int same = check(o, t, r);
	if (same == READER_DIFFERS)
		return -EIO;
	t->is_on_disk = same >= 0;
	return same < 0 ? same : 0;
}
