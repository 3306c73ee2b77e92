#!/usr/bin/env bash
# Files whose pages somebody holds, to write to them when nobody expects it any more, or just because a program has them mapped.
. "$(dirname "$0")/../support/cli.sh"
need cc
cc -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -shared -fPIC -O1 -I "$TEST_DIR/../.." -o "$W/fault.so" "$TEST_DIR/fault.c" "$TEST_DIR/no_ring.c"
export FAULT_SO=$W/fault.so
on_each pinned.py ext4 xfs btrfs tmpfs
