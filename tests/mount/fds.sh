#!/usr/bin/env bash
# The daemon holds no descriptor for what nobody uses: 10,000 opens and 20,000 files looked up leave as many as there were, and
# what a guest holds open in passthrough costs it none.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

descriptors() { ls "/proc/$1/fd" | wc -l; }

# check GUEST OPTIONS BOUND [LIMIT CASE]: how many more it may hold while a guest holds 5,000 files open.
check() {
	title "-o ${2:-defaults}${4:+, at most $4 descriptors}"
	local pid before r=0
	( ulimit -n "${4:-$(ulimit -n)}"; guest_mount "$POOL/$1" "$W/m" "$2" )
	pid=$(daemon_of "$W/m") || fail "no daemon"
	before=$(descriptors "$pid")
	"$PYTHON" "$TEST_DIR/fds.py" run "$W/m" "$pid" "$3" ${5:+"$5"} || r=1
	[ "$(descriptors "$pid")" -le $((before + 4)) ] || fail "$before descriptors before, $(descriptors "$pid") now"
	guest_umount "$W/m"
	return $r
}

fs_new ext4 800M -N 100000
"$PYTHON" "$TEST_DIR/fds.py" seed "$POOL"
hashify_pool
bad=0
check a "" 64 2000 "leave room" || bad=1
check a "" 64 || bad=1
check b passthrough=no 6000 || bad=1
exit $bad
