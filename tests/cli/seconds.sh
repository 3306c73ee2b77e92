#!/usr/bin/env bash
# Where timestamps are whole seconds, they do not tell of two writes in one.
. "$(dirname "$0")/../support/cli.sh"
fs_new ext4 128M -I 128
"$PYTHON" "$TEST_DIR/seconds.py" "$FS"
