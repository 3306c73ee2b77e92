#!/usr/bin/env bash
# hashify under valgrind. It cannot run a build with sanitizers, which see the same by themselves.
DEFAULT_TIMEOUT=300
. "$(dirname "$0")/../support/cli.sh"
if ! grep -qaE '__asan_init|__tsan_init' "$HASHIFY"; then
	need valgrind cc
	cc -D_GNU_SOURCE -shared -fPIC -O1 -I "$TEST_DIR/../.." -o "$W/openat2.so" "$TEST_DIR/openat2.c"
	export OPENAT2=$W/openat2.so
fi
on_each memory.py ext4
