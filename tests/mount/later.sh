#!/usr/bin/env bash
# However many break large links, other files are served meanwhile. Over io_uring nothing is promised but that all ends well.
DEFAULT_TIMEOUT=600
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

switch=/sys/module/fuse/parameters/enable_uring

# check OPTIONS WAITS
check() {
	local r=0 pid
	title "-o $1"
	fs_new ext4 3G
	"$PYTHON" "$TEST_DIR/later.py" seed "$POOL"
	hashify_pool
	"$PYTHON" "$TEST_DIR/later.py" links "$POOL"
	expect_links "$POOL"/a/{large1,middle1,small/1}
	store_inventory >"$W/store"
	guest_mount "$POOL/a" "$W/m" "$1"
	"$PYTHON" "$TEST_DIR/later.py" run "$W/m" "$2" || r=1
	guest_umount "$W/m"

	guest_mount "$POOL/a" "$W/m" "$1"
	pid=$(daemon_of "$W/m")
	"$PYTHON" "$TEST_DIR/later.py" end "$W/m" "$pid" || r=1
	wait_gone "$pid" 60 || fail "the daemon goes on"
	"$PYTHON" "$TEST_DIR/later.py" whole "$POOL"
	store_inventory >"$W/store.after"
	same "$W/store" "$W/store.after" "an object has changed"
	[ -z "$(ls -A "$POOL/.hash/tmp")" ] || fail "left in tmp: $(ls -A "$POOL/.hash/tmp")"
	return $r
}

bad=0
check uring=no others-served || bad=1
if [ -e "$switch" ]; then
	before=$(cat "$switch")
	at_exit+=('echo "$before" >"$switch"')
	echo Y >"$switch"
	check uring=yes others-wait || bad=1
else
	say "-     this kernel has no FUSE over io_uring"
fi
exit $bad
