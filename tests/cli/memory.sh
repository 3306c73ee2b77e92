#!/usr/bin/env bash
# hashify under valgrind.
DEFAULT_TIMEOUT=300
. "$(dirname "$0")/../support/cli.sh"
need valgrind cc
! grep -qaE '__asan_init|__tsan_init' "$HASHIFY" || missing "a build without sanitizers, which valgrind cannot run"
cc -D_GNU_SOURCE -shared -fPIC -O1 -o "$W/openat2.so" "$TEST_DIR/openat2.c"
export OPENAT2=$W/openat2.so
on_each memory.py ext4
