#!/usr/bin/env bash
# What is left alone by name, size or guest.
. "$(dirname "$0")/../support/cli.sh"
on_each exclude.py ext4
