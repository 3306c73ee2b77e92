#!/usr/bin/env bash
# hashify under valgrind, and what memory it takes. Valgrind cannot run a build with sanitizers, which see the same by themselves.
DEFAULT_TIMEOUT=900
. "$(dirname "$0")/../support/cli.sh"
if ! grep -qaE '__asan_init|__tsan_init' "$HASHIFY"; then
	need valgrind cc
	cc -D_GNU_SOURCE -shared -fPIC -O1 -I "$TEST_DIR/../.." -o "$W/openat2.so" "$TEST_DIR/openat2.c"
	cc -shared -fPIC -O1 -o "$W/no_ring.so" "$TEST_DIR/no_ring.c"
	cc -O1 -o "$W/peak" "$TEST_DIR/peak.c"
	export VALGRIND_PRELOAD=$W/openat2.so:$W/no_ring.so PEAK=$W/peak
fi
on_each memory.py ext4
