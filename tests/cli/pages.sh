#!/usr/bin/env bash
# A pass leaves the page cache as it has found it, but for objects, and the atime of every file.
. "$(dirname "$0")/../support/cli.sh"
need chattr
# shellcheck disable=SC2046
on_each pages.py $(filesystems ext4 xfs btrfs)
