#!/usr/bin/env bash
# Every sequence of a few operations on one link, by path and by descriptors held open, shows the same as on a plain file.
DEFAULT_TIMEOUT=900
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

bad=0
length=3
! full || length=4

# check FILESYSTEM OPTIONS MODE LENGTH
check() {
	title "$1${2:+ with -o $2}, $4 operations"
	fs_new "$1" 4G -N 400000
	"$PYTHON" "$TEST_DIR/sequences.py" seed "$POOL" "$NATIVE" "$4" || fail "sequences.py seed"
	hashify_pool
	guests_mount "$2" a b
	inventory --no-hardlinks "$POOL/b" >"$W/b"
	store_inventory >"$W/store"
	"$PYTHON" "$TEST_DIR/sequences.py" run "$POOL" "$NATIVE" "$M" "$4" "$3" || bad=1
	guests_umount a b
	inventory --no-hardlinks "$POOL/b" >"$W/b.after"
	same "$W/b" "$W/b.after" "guest b has changed"
	store_inventory >"$W/store.after"
	same "$W/store" "$W/store.after" "an object has changed"
}

check ext4 "" passthrough $length
check ext4 coherent coherent 2
exit $bad
