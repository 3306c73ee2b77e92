#!/usr/bin/env bash
# Guests that change their trees under a pass's feet, or plant what is ours: it never leaves the pool, follows, hangs, or is fooled.
DEFAULT_TIMEOUT=900
. "$(dirname "$0")/../support/cli.sh"
# shellcheck disable=SC2046
on_each hostile.py $(filesystems ext4)
