#!/usr/bin/env bash
# The filesystem's limit on hard links stops neither a pass nor the sharing.
DEFAULT_TIMEOUT=600
. "$(dirname "$0")/../support/cli.sh"
r=0
# limit KIND LIMIT [MKFS_ARGUMENT…]. Of 70,000 files each takes half a minute.
limit() {
	local kind=$1 limit=$2 all=
	shift 2
	! full || all=all
	fs_new "$kind" 1G "$@"
	title "$kind"
	"$PYTHON" "$TEST_DIR/limit.py" "$FS" "$limit" $all || r=1
}
limit ext4 65000 -N 200000
limit btrfs 65535
! full || limit xfs 2147483647
exit $r
