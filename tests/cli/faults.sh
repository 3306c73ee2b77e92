#!/usr/bin/env bash
# A disk, quota or table of inodes that is full, and I/O errors: named, counted, nothing is lost, and the rest of the pass goes on.
DEFAULT_TIMEOUT=900
. "$(dirname "$0")/../support/cli.sh"
need cc
cc -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -shared -fPIC -O1 -o "$W/fault.so" "$TEST_DIR/fault.c"
export FAULT_SO=$W/fault.so
chmod 755 "$W"
r=0
for kind in ext4 xfs btrfs; do
	title "$kind"
	small=()
	[ "$kind" != ext4 ] || small=(-m 0 -N 2000)
	fs_new "$kind" 320M "${small[@]}"  # the least that XFS takes
	"$PYTHON" "$TEST_DIR/faults.py" "$FS" "$kind" "$W/image.$kind" || r=1
done
exit $r
