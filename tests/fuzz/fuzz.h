// What the fuzz targets share: libFuzzer's entry, and a store in memory to put bytes into.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct store;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A directory with a store, in /dev/shm, made once and removed at the end. *@ret_pool is its fd. The store is
// the caller's to close.
struct store *fuzz_store(int *ret_pool);

// Writes @data to the file @name of the directory @dir, over what it has.
void fuzz_write(int dir, const char *name, const uint8_t *data, size_t size);

// Reads the file @name of @dir, all of it, and returns its size, which is @size at most.
size_t fuzz_read(int dir, const char *name, uint8_t *ret, size_t size);

// Aborts, which is a finding, unless @holds.
void fuzz_check(int holds);
