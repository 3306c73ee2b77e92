#!/usr/bin/env bash
# Directories that a guest holds open in the middle of reading cost the daemon no more than so much, and each goes on where it was.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

# check FILESYSTEM OPTIONS
check() {
	title "$1${2:+ with -o $2}"
	local r=0
	fs_new "$1" 800M
	"$PYTHON" "$TEST_DIR/streams.py" seed "$POOL"
	hashify_pool
	guest_mount "$POOL/a" "$W/m" "$2"
	"$PYTHON" "$TEST_DIR/streams.py" run "$W/m" "$(daemon_of "$W/m")" || r=1
	guest_umount "$W/m"
	return $r
}

bad=0
check btrfs "" || bad=1
check ext4 cache=1 || bad=1
check tmpfs "" || bad=1
exit $bad
