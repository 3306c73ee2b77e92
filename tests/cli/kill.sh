#!/usr/bin/env bash
# A pass may be killed at any moment.
DEFAULT_TIMEOUT=3000
. "$(dirname "$0")/../support/cli.sh"
count=20
! full || count=500
r=0
for kind in $(filesystems ext4); do
	fs_new "$kind" 1G
	title "$kind"
	"$PYTHON" "$TEST_DIR/stop.py" "$FS" kill $count || r=1
done
exit $r
