#!/usr/bin/env bash
# SIGINT and SIGTERM stop a pass cleanly.
. "$(dirname "$0")/../support/cli.sh"
fs_new ext4 1G
"$PYTHON" "$TEST_DIR/stop.py" "$FS" signal
