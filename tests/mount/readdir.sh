#!/usr/bin/env bash
# A directory's entries, which the kernel keeps, are always those that are there.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need ls

bad=0
for fs in $(filesystems ext4 btrfs); do
	on_guests readdir.py "$fs" || bad=1
done
on_guests readdir.py ext4 cache=1 || bad=1
exit $bad
