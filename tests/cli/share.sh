#!/usr/bin/env bash
# Identical files become links of one object, and nothing else that a guest may notice changes.
. "$(dirname "$0")/../support/cli.sh"
on_each share.py ext4 xfs btrfs tmpfs
