#!/usr/bin/env bash
# Every kind of modification of a link through one guest's mount does what it does to a plain file, and no other guest,
# natively or through its mount, and no object notices.
DEFAULT_TIMEOUT=600
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need setfacl setcap getfattr

# check FILESYSTEM OPTIONS all|few [MODE]
check() {
	title "$1 ${2:+with -o $2}"
	fs_new "$1" 700M
	"$PYTHON" "$TEST_DIR/ops.py" seed "$POOL" "$NATIVE" "$3" || fail "ops.py seed"
	hashify_pool
	expect_links "$POOL"/{a,b,c}/ops/chmod/{first/rich,held/plain}/{f,g}
	guests_mount "$2" a b c

	for g in b c; do
		inventory --no-hardlinks "$POOL/$g" >"$W/native.$g"
		inventory "$M/$g" >"$W/mounted.$g"
	done
	store_inventory >"$W/store"

	local r=0
	"$PYTHON" "$TEST_DIR/ops.py" run "$POOL" "$NATIVE" "$M" "$3" "${4:-passthrough}" || r=1

	for g in b c; do
		inventory --no-hardlinks "$POOL/$g" >"$W/native.$g.after"
		inventory "$M/$g" >"$W/mounted.$g.after"
		same "$W/native.$g" "$W/native.$g.after" "guest $g has changed"
		same "$W/mounted.$g" "$W/mounted.$g.after" "guest $g has changed, seen through its mount"
	done
	store_inventory >"$W/store.after"
	same "$W/store" "$W/store.after" "an object has changed"

	# What guest a shows now is what is on the disk.
	inventory --no-marks --no-hardlinks "$M/a" >"$W/mounted.a"
	guests_umount a b c
	inventory --no-marks --no-hardlinks "$POOL/a" >"$W/native.a"
	same "$W/mounted.a" "$W/native.a" "guest a is not on the disk what its mount showed"
	return $r
}

bad=0
few=few
! full || few=all
check ext4 "" all || bad=1
for fs in xfs btrfs tmpfs; do
	check "$fs" "" $few || bad=1
done
check ext4 passthrough=no $few none || bad=1
check ext4 coherent $few coherent || bad=1
check ext4 volatile $few || bad=1
exit $bad
