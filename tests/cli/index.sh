#!/usr/bin/env bash
# What the index spares, and that nothing depends on it.
. "$(dirname "$0")/../support/cli.sh"
on_each index.py ext4 xfs btrfs
