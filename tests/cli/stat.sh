#!/usr/bin/env bash
# The figures of hashify stat are exact.
. "$(dirname "$0")/../support/cli.sh"
# shellcheck disable=SC2046
on_each stat.py $(filesystems ext4 xfs)
