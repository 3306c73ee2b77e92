#include "fs/number.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fs/handle.h"
#include "fs/hashfs.h"
#include "store/digest.h"
#include "store/store.h"

#define LINK_BIT (UINT64_C(1) << 62)
#define DEVICE_BIT (UINT64_C(1) << 61)

// A subvolume's device is one of the kernel's nameless ones: 20 bits, which leave 41 to the inode's number.
#define DEVICE_SHIFT 41

struct alias {
	uint64_t key;
	dev_t dev;
	uint64_t number;
};

uint64_t number_name_key(const struct hashfs *fs, const struct handle *dir, const char *name)
{
	struct {
		uint64_t dev, ino;
		char name[256];
	} k = { .dev = dir->dev, .ino = dir->ino };
	size_t length = strnlen(name, sizeof(k.name));

	memcpy(k.name, name, length);
	return digest_hash64(fs->store->seed, &k, offsetof(typeof(k), name) + length);
}

static bool on_device(const void *value, const void *dev)
{
	const struct alias *a = value;
	return a->dev == *(const dev_t *)dev;
}

static void set(struct map *m, uint64_t key, dev_t dev, uint64_t number)
{
	struct alias *a = map_find(m, key, on_device, &dev);

	if (a) {
		a->number = number;
		return;
	}
	if (map_reserve(m) < 0)
		return;
	a = malloc(sizeof(*a));
	if (!a)
		return;
	*a = (struct alias){ .key = key, .dev = dev, .number = number };
	map_add(m, key, a);
}

static void drop(struct map *m, uint64_t key, dev_t dev)
{
	struct alias *a = map_find(m, key, on_device, &dev);

	if (!a)
		return;
	map_remove(m, key, a);
	free(a);
}

static uint64_t own_number(uint64_t name_key)
{
	return (name_key & (LINK_BIT - 1)) | LINK_BIT;
}

uint64_t number_of_link(const struct hashfs *fs, uint64_t name_key)
{
	const struct alias *a = map_find(&fs->name_aliases, name_key, NULL, NULL);
	return a ? a->number : own_number(name_key);
}

static uint64_t own_number_of_inode(const struct hashfs *fs, dev_t dev, uint64_t ino)
{
	uint64_t both = ((uint64_t)minor(dev) << DEVICE_SHIFT) ^ ino;

	return dev == fs->dev ? ino : DEVICE_BIT | (both & (DEVICE_BIT - 1));
}

uint64_t number_of_inode(const struct hashfs *fs, dev_t dev, uint64_t ino)
{
	const struct alias *a = map_find(&fs->inode_aliases, ino, on_device, &dev);
	return a ? a->number : own_number_of_inode(fs, dev, ino);
}

void number_set_link(struct hashfs *fs, uint64_t name_key, uint64_t number)
{
	if (number == own_number(name_key))
		number_drop_link(fs, name_key);
	else
		set(&fs->name_aliases, name_key, 0, number);
}

void number_set_inode(struct hashfs *fs, dev_t dev, uint64_t ino, uint64_t number)
{
	set(&fs->inode_aliases, ino, dev, number);
}

void number_drop_link(struct hashfs *fs, uint64_t name_key)
{
	drop(&fs->name_aliases, name_key, 0);
}

void number_drop_inode(struct hashfs *fs, dev_t dev, uint64_t ino)
{
	drop(&fs->inode_aliases, ino, dev);
}

static void free_alias(void *value, void *arg)
{
	(void)arg;
	free(value);
}

void number_free_all(struct hashfs *fs)
{
	map_each(&fs->name_aliases, free_alias, NULL);
	map_each(&fs->inode_aliases, free_alias, NULL);
	map_free(&fs->name_aliases);
	map_free(&fs->inode_aliases);
}
