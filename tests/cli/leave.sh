#!/usr/bin/env bash
# What must never be shared, touched or followed.
. "$(dirname "$0")/../support/cli.sh"
need chattr cp
on_each leave.py ext4 xfs btrfs tmpfs
