#!/usr/bin/env bash
# Names of 255 bytes, newlines, invalid UTF-8; paths beyond PATH_MAX; directories 10,000 deep.
. "$(dirname "$0")/../support/cli.sh"
# shellcheck disable=SC2046
on_each names.py $(filesystems ext4)
