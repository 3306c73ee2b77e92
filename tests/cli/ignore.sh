#!/usr/bin/env bash
# Parts of the identity that are left out on request, and those that never are.
. "$(dirname "$0")/../support/cli.sh"
on_each ignore.py ext4
