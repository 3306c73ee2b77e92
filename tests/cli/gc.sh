#!/usr/bin/env bash
# hashify gc removes what nobody uses, and nothing else, whoever is at work meanwhile.
. "$(dirname "$0")/../support/cli.sh"
# shellcheck disable=SC2046
on_each gc.py $(filesystems ext4 xfs)
