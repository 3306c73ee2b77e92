#!/usr/bin/env bash
# Files whose pages somebody holds, to write to them when nobody expects it any more, or just because a program has them mapped.
. "$(dirname "$0")/../support/cli.sh"
build_faults
on_each pinned.py ext4 xfs btrfs tmpfs
