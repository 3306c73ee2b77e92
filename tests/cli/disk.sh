#!/usr/bin/env bash
# What is in memory and not on the disk: no guest's file goes for it, and verify finds it.
. "$(dirname "$0")/../support/cli.sh"
# shellcheck disable=SC2046
on_each disk.py $(filesystems ext4 xfs)
