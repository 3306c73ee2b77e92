#!/usr/bin/env bash
# Errors are sentences, exit statuses are as documented, and a user may work on a pool of his own.
. "$(dirname "$0")/../support/cli.sh"
chmod 755 "$W"
on_each errors.py ext4
