#!/usr/bin/env bash
# Several processes change three guests at once through their mounts, and do the same to native copies; at the end each guest is what its
# copy is, what nobody touched is what it was, and no object has changed.
DEFAULT_TIMEOUT=3500
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

switch=/sys/module/fuse/parameters/enable_uring
seconds=15
! full || seconds=150
bad=0

# check FILESYSTEM OPTIONS SECONDS
check() {
	title "$1${2:+ with -o $2}, $3 s"
	fs_new "$1" 2G
	"$PYTHON" "$TEST_DIR/stress.py" seed "$POOL" "$NATIVE" || fail "stress.py seed"
	hashify_pool
	expect_links "$POOL"/{a,b,c,idle}/w0/f0
	store_inventory >"$W/store"
	for g in a b c idle; do
		inventory --no-hardlinks "$POOL/$g/still" >"$W/still.$g"
	done
	inventory --no-hardlinks "$POOL/idle" >"$W/idle"
	guests_mount "$2" a b c idle

	"$PYTHON" "$TEST_DIR/stress.py" run "$POOL" "$NATIVE" "$M" "$3" "$2" || bad=1

	for g in a b c; do
		inventory --no-marks --no-hardlinks "$M/$g" >"$W/mounted.$g"
	done
	echo 3 >/proc/sys/vm/drop_caches
	for g in a b c; do
		inventory --no-marks --no-hardlinks "$M/$g" >"$W/mounted.$g.again"
		same "$W/mounted.$g" "$W/mounted.$g.again" "guest $g shows something else after drop_caches"
		pid=$(daemon_of "$M/$g")
		[ "$(ls "/proc/$pid/fd" | wc -l)" -le 200 ] || fail "the daemon of $g holds $(ls "/proc/$pid/fd" | wc -l) descriptors"
	done
	inventory --no-hardlinks "$POOL/idle" >"$W/idle.after"
	same "$W/idle" "$W/idle.after" "the idle guest has changed"
	guests_umount a b c idle
	for g in a b c; do
		inventory --no-hardlinks "$POOL/$g/still" >"$W/still.$g.after"
		same "$W/still.$g" "$W/still.$g.after" "what nobody touched in guest $g has changed"
		inventory --no-marks --no-hardlinks "$POOL/$g" >"$W/native.$g"
		same "$W/mounted.$g" "$W/native.$g" "guest $g is not on the disk what its mount showed"
	done
	store_inventory >"$W/store.after"
	same "$W/store" "$W/store.after" "an object has changed"
	[ -z "$(ls -A "$POOL/.hash/tmp")" ] || fail "left in tmp: $(ls -A "$POOL/.hash/tmp")"
	hashify_pool
	for g in a b c; do
		inventory --no-marks --no-hardlinks "$POOL/$g" >"$W/native.$g.after"
		same "$W/native.$g" "$W/native.$g.after" "the next hashify has changed guest $g"
	done
}

check_options() {
	local o
	for o in "" passthrough=no coherent; do check "$1" "$o" "$2"; done
	[ -e "$switch" ] || { say "-     this kernel has no FUSE over io_uring"; return 0; }
	local before
	before=$(cat "$switch")
	at_exit+=("echo $before >$switch")
	echo Y >"$switch"
	check "$1" uring=yes "$2"
	echo "$before" >"$switch"
}

if full; then
	for fs in ext4 xfs btrfs; do check_options "$fs" $seconds; done
else
	check ext4 "" $seconds
	check ext4 coherent 5
fi
exit $bad
