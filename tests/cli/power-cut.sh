#!/usr/bin/env bash
# The power may be cut at any moment of a pass: ext4 and XFS are shut down without a flush of their logs, and mounted again.
DEFAULT_TIMEOUT=3000
. "$(dirname "$0")/../support/cli.sh"
count=5
! full || count=100
r=0
for kind in ext4 xfs; do
	fs_new "$kind" 1G
	title "$kind"
	# shellcheck disable=SC2016
	"$PYTHON" "$TEST_DIR/stop.py" "$FS" cut $count \
		sh -c 'umount "$1" && mount -o loop "$2" "$1"' sh "$FS" "$W/image.$kind" || r=1
done
exit $r
