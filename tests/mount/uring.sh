#!/usr/bin/env bash
# Over io_uring, where the kernel has it, a mount does the same as without.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

switch=/sys/module/fuse/parameters/enable_uring
[ -e "$switch" ] || { say "-     this kernel has no FUSE over io_uring"; exit 0; }
before=$(cat "$switch")
at_exit+=('echo "$before" >"$switch"')

# Reads the daemon's io_uring descriptors: only a mount that uses it has any.
uses_uring() { find "/proc/$(daemon_of "$1")/fd" -lname 'anon_inode:*io_uring*' | grep -q .; }

fs_new ext4 700M
"$PYTHON" "$TEST_DIR/ops.py" seed "$POOL" "$NATIVE" few || fail "ops.py seed"
hashify_pool
echo N >"$switch"
refuses 'uring' "$HASHFS" -o uring=yes "$POOL/a" "$W"
guest_mount "$POOL/a" "$W/m"
! uses_uring "$W/m" || fail "it uses io_uring though the kernel forbids it"
guest_umount "$W/m"

echo Y >"$switch"
guest_mount "$POOL/a" "$W/m" uring=no
! uses_uring "$W/m" || fail "it uses io_uring though it was told not to"
guest_umount "$W/m"
guests_mount uring=yes a b c
uses_uring "$M/a" || fail "it does not use io_uring"
inventory --no-hardlinks "$POOL/b" >"$W/b"
bad=0
"$PYTHON" "$TEST_DIR/ops.py" run "$POOL" "$NATIVE" "$M" few passthrough || bad=1
inventory --no-hardlinks "$POOL/b" >"$W/b.after"
same "$W/b" "$W/b.after" "guest b has changed"
guests_umount a b c
exit $bad
