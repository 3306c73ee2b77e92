#!/usr/bin/env bash
# What the kernel remembers is what is there, whoever changes it at the same time; and reading a link moves nothing that other
# guests see.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

bad=0
on_guests remembered.py ext4 "" passthrough || bad=1
on_guests remembered.py ext4 passthrough=no daemon || bad=1
on_guests remembered.py xfs coherent daemon || bad=1
exit $bad
