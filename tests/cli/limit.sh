#!/usr/bin/env bash
# The filesystem's limit on hard links stops neither a pass nor the sharing.
. "$(dirname "$0")/../support/cli.sh"
r=0
fs_new ext4 1G -N 200000
"$PYTHON" "$TEST_DIR/limit.py" "$FS" 65000 || r=1
if full; then
	fs_new btrfs 1G
	"$PYTHON" "$TEST_DIR/limit.py" "$FS" 65535 || r=1
	fs_new xfs 1G
	"$PYTHON" "$TEST_DIR/limit.py" "$FS" 2147483647 || r=1
fi
exit $r
