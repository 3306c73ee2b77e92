#!/usr/bin/env bash
# A pass leaves the page cache as it has found it, but for objects, and the atime of every file.
. "$(dirname "$0")/../support/cli.sh"
need cc chattr
cc -shared -fPIC -O1 -o "$W/no_ring.so" "$TEST_DIR/no_ring.c"
# shellcheck disable=SC2046
on_each pages.py $(filesystems ext4 xfs btrfs)
say "-- without io_uring"
NO_RING=$W/no_ring.so on_each pages.py ext4
