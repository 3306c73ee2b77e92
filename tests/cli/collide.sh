#!/usr/bin/env bash
# Digests are equal of thousands of files that are not: a hashify whose digests have 8 bits, of content and identity alike.
DEFAULT_TIMEOUT=600
HASHIFY=${BUILD_DIR:?the directory of the build}/tests/hashify-8bit
. "$(dirname "$0")/../support/cli.sh"
# shellcheck disable=SC2046
on_each collide.py $(filesystems ext4)
