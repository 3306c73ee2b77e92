#!/usr/bin/env bash
# hashify verify finds every damage, keeps it from spreading, and says whom it has hit.
. "$(dirname "$0")/../support/cli.sh"
# shellcheck disable=SC2046
on_each verify.py $(filesystems ext4 xfs)
