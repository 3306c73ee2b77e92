#!/usr/bin/env bash
# Why a file is shared, or is not.
. "$(dirname "$0")/../support/cli.sh"
on_each why.py ext4
