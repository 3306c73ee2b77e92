#!/usr/bin/env bash
# Private copies again.
. "$(dirname "$0")/../support/cli.sh"
on_each unshare.py ext4 xfs btrfs
