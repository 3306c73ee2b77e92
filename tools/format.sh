#!/bin/bash
# Formats our C sources; with --check only says which are not formatted.
set -eu
cd "$(dirname "$0")/.."
mode=-i
if [ "${1:-}" = --check ]; then
	mode="--dry-run -Werror"
fi
# shellcheck disable=SC2086
find store hashify fs tests -name '*.[ch]' -print0 | xargs -0 clang-format --style=file $mode
