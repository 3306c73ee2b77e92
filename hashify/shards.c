#include "hashify/shards.h"

#include "hashify/hashed.h"
#include "hashify/known.h"
#include "store/base/clock.h"
#include "store/base/dir.h"
#include "store/digest.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

// Of an object in the index: at most, its inode, type and name.
#define LISTED_SIZE (sizeof(uint64_t) + 1 + OBJECT_NAME_SIZE)

int shards_load(struct hashed *h, size_t limit, bool keep, struct shards **ret)
{
	struct shards *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->hashed = h;
	s->limit = limit;
	s->keep = keep;
	hashed_listings(h, STORE_DIR, 0, limit, keep, &s->listings);
	*ret = s;
	return 0;
}

void shards_free(struct shards *s)
{
	if (!s)
		return;
	listings_free(&s->listings);
	free(s);
}

struct visit {
	struct shards *shards;
	struct store *store;
	struct shards_part part;
	int (*each)(const struct object_key *key, const struct stat *st, void *arg);
	void *arg;
	uint64_t *foreign;
};

// Who made the index may lie: an object of another directory would hide that one's own.
static int each_listed(const struct visit *v, const struct listing *d, int number)
{
	struct listing_entry e;
	struct object_key key;
	int r = 0;

	for (size_t at = 0; r == 0 && listing_next(d, &at, &e);)
		if (object_name_parse(e.name, &key) == 0 && object_shard_of(key.digest) == (unsigned)number)
			r = v->each(&key, &(struct stat){ .st_ino = e.ino }, v->arg);
	return r;
}

static int read_shard(const struct visit *v, const char *name)
{
	return object_each_in(v->store, name, v->each, v->arg, v->foreign);
}

static int visit_shard(int objects, const struct dirent64 *e, void *arg)
{
	struct visit *v = arg;
	struct stat st;

	int number = object_shard_number(e->d_name);
	if ((number < 0 ? 0 : (unsigned)number) % v->part.of != v->part.number)
		return 0;
	if (number < 0 || fstatat(objects, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return read_shard(v, e->d_name);

	struct shard *shard = &v->shards->all[number];
	uint64_t stamp = index_stamp(v->store->seed, 0, st.st_mtim, st.st_ctim);
	shard->same = listings_find(&v->shards->listings, st.st_ino, stamp);
	if (shard->same)
		return each_listed(v, shard->same, number);
	bool is_settled = S_ISDIR(st.st_mode) && clock_is_over(st.st_ctim);
	uint64_t foreign = *v->foreign;
	int r = read_shard(v, e->d_name);
	shard->ino = st.st_ino;
	shard->stamp = r == 0 && is_settled && *v->foreign == foreign ? stamp : 0;
	return r;
}

int shards_each(struct shards *s, struct store *store, struct shards_part part,
		int (*each)(const struct object_key *key, const struct stat *st, void *arg), void *arg,
		uint64_t *ret_foreign)
{
	struct visit v = {
		.shards = s, .store = store, .part = part, .each = each, .arg = arg, .foreign = ret_foreign
	};
	return dir_each(store->objects, ".", visit_shard, &v);
}

// More than one directory in fifty is not as the index says, and they will not be too long.
static bool are_outdated(const struct shards *s, size_t objects)
{
	size_t same = 0, other = 0;
	for (int i = 0; i < OBJECT_SHARDS; i++) {
		same += s->all[i].same != NULL;
		other += s->all[i].stamp != 0;
	}
	return other * 50 > same + other && objects < s->limit / LISTED_SIZE;
}

static void put_shard(struct shards *s, unsigned number, const struct known_object *objects, size_t count)
{
	char name[OBJECT_NAME_SIZE];
	const struct shard *shard = &s->all[number];

	if (shard->stamp == 0)
		return;
	listings_begin(&s->listings, shard->ino, shard->stamp);
	for (size_t i = 0; i < count; i++) {
		object_name_print(&objects[i].key, name);
		listings_add(&s->listings, &(struct listing_entry){ objects[i].ino, DT_REG, name });
	}
	listings_end(&s->listings, true);
	s->all[number].stamp = 0;
}

static void put_all(struct shards *s, const struct known_object *objects, size_t count)
{
	for (size_t i = 0, end; i < count; i = end) {
		unsigned number = object_shard_of(objects[i].key.digest);
		for (end = i + 1; end < count && object_shard_of(objects[end].key.digest) == number;)
			end++;
		put_shard(s, number, &objects[i], end - i);
	}
	for (unsigned number = 0; number < OBJECT_SHARDS; number++) {
		put_shard(s, number, NULL, 0);  // those without objects
		if (s->all[number].same)
			listings_keep(&s->listings, s->all[number].same);
	}
	hashed_put_listings(s->hashed, STORE_DIR, &s->listings);
}

void shards_end(struct shards *s, const struct known_object *objects, size_t count)
{
	s->outdated = are_outdated(s, count);
	if (s->keep)
		put_all(s, objects, count);
	listings_free(&s->listings);  // what follows takes memory, too
}
