#!/usr/bin/env bash
# What the README's command installs: our programs, and nothing of a libfuse that was built beside them.
. "$(dirname "$0")/../support/cli.sh"
need meson
command=$(grep -o 'meson install .*' "$TEST_DIR/../../README.md") || fail "the README names no command"
read -ra options <<<"${command#*-C build}"
DESTDIR=$W/root meson install -C "$BUILD_DIR" --no-rebuild "${options[@]}" >"$W/log" 2>&1 || { cat "$W/log" >&2; fail "meson install"; }
installed=$(cd "$W/root" && find . -type f -printf '%f\n' | sort | tr '\n' ' ')
[ "$installed" = "hashfs hashify " ] || fail "installed: $installed"
