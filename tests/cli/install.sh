#!/usr/bin/env bash
# What the README's command installs: our programs, their manual pages where scdoc was there to make them, and nothing of
# a libfuse that was built beside them.
. "$(dirname "$0")/../support/cli.sh"
need meson
command=$(grep -o 'meson install .*' "$TEST_DIR/../../README.md") || fail "the README names no command"
read -ra options <<<"${command#*-C build-release}"
DESTDIR=$W/root meson install -C "$BUILD_DIR" --no-rebuild "${options[@]}" >"$W/log" 2>&1 || { cat "$W/log" >&2; fail "meson install"; }
installed=$(cd "$W/root" && find . -type f -printf '%f\n' | sort | tr '\n' ' ')
wanted="hashfs hashify "
if command -v scdoc >/dev/null; then
	wanted="hashfs hashfs.8 hashify hashify.8 "
	for page in hashfs hashify; do
		grep -rq --include="$page.8" "^.TH \"$page\" \"8\"" "$W/root" || fail "$page.8 is no manual page"
	done
fi
[ "$installed" = "$wanted" ] || fail "installed: $installed, wanted: $wanted"
