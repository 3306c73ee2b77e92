#!/usr/bin/env bash
# Guests read one file through two mounts and natively, and memory holds it once: the same physical pages, the same page cache.
DEFAULT_TIMEOUT=200
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

bad=0
for fs in $(filesystems ext4 xfs btrfs); do
	on_guests share.py "$fs" || bad=1
done
on_guests share.py ext4 passthrough=no none || bad=1
on_guests share.py ext4 coherent coherent || bad=1
exit $bad
