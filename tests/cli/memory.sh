#!/usr/bin/env bash
# hashify under valgrind.
. "$(dirname "$0")/../support/cli.sh"
need valgrind
! grep -qaE '__asan_init|__tsan_init' "$HASHIFY" || missing "a build without sanitizers, which valgrind cannot run"
on_each memory.py ext4
