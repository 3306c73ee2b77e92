// What is to be left alone, by its status alone.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hashify/reason.h"

struct statx;

// Is what has the status @st in a directory of the filesystem @dir_dev mounted there? Before Linux 5.8 a
// mount of the same filesystem is not told.
bool judge_is_mount(dev_t dir_dev, const struct statx *st);

// Is what has the status @st immutable or append-only?
bool judge_is_frozen(const struct statx *st);

// Why a file with the status @st in a directory of the filesystem @dir_dev is to be left alone; REASON_NONE:
// it is not.
enum reason judge(dev_t store_dev, uint64_t min_size, dev_t dir_dev, const struct statx *st);
