#!/usr/bin/env bash
# A disk, quota or table of inodes that is full, and I/O errors: named, counted, nothing is lost, and the rest of the pass goes on.
DEFAULT_TIMEOUT=900
. "$(dirname "$0")/../support/cli.sh"
build_faults
chmod 755 "$W"
r=0
faults() {
	local kind=$1
	shift
	title "$kind"
	fs_new "$kind" "$@"
	"$PYTHON" "$TEST_DIR/faults.py" "$FS" "$kind" "$W/image.$kind" || r=1
}
faults ext4 64M -m 0 -N 2000
faults xfs 300M  # the least it takes
faults btrfs 160M
exit $r
