#!/usr/bin/env bash
# How far a pass is: on a terminal, in a log, on SIGUSR1; and passes that are slowed down.
. "$(dirname "$0")/../support/cli.sh"
fs_new ext4 1G
"$PYTHON" "$TEST_DIR/progress.py" "$FS"
