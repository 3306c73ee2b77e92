// What is to be left alone, by its status alone.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "hashify/reason.h"

struct statx;

// Why a file with the status @st in a directory of the filesystem @dir_dev is to be left alone; REASON_NONE:
// it is not.
enum reason judge(dev_t store_dev, uint64_t min_size, dev_t dir_dev, const struct statx *st);
