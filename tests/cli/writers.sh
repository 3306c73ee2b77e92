#!/usr/bin/env bash
# Files that are written during a pass keep what was written.
DEFAULT_TIMEOUT=3500
. "$(dirname "$0")/../support/cli.sh"
# shellcheck disable=SC2046
on_each writers.py $(filesystems ext4 xfs)
