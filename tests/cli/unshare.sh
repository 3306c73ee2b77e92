#!/usr/bin/env bash
# Private copies again.
DEFAULT_TIMEOUT=600
. "$(dirname "$0")/../support/cli.sh"
on_each unshare.py ext4 xfs btrfs
