#!/bin/bash
# All there is to test, on a fresh machine: set-up, build, lint, unit, cli, mount and crash tests, then the same
# tests of programs built with ASan and UBSan, and the fuzz targets. TEST_SCALE=full (tools/test-full.sh) runs the long forms.
set -euo pipefail
cd "$(dirname "$0")/.."

export TEST_SCALE=${TEST_SCALE:-short}
export HASHFS_REQUIRE_MOUNT=1  # here a mount that fails is a failure, not a reason to skip
passed=0 failed=0 skipped=0 bad=()

say() { printf '\n== %s (%d min %02d s)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

# build DIR OPTION...
build() {
	local dir=$1
	shift
	say "build $dir"
	[ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >"$dir.log" 2>&1 || { cat "$dir.log"; exit 1; }
	meson configure "$dir" "$@" >/dev/null
	ninja -C "$dir" reconfigure >/dev/null
	ninja -C "$dir" -v >"$dir.log" 2>&1 || { grep -E 'error|FAILED|undefined' "$dir.log" || tail -50 "$dir.log"; exit 1; }
	local config=("$dir"/subprojects/fuse-*/fuse_config.h)
	[ ! -f "${config[0]}" ] || grep -q '^#define HAVE_URING' "${config[0]}" ||
		{ echo "libfuse was built without io_uring: liburing-dev or libnuma-dev is missing or too old"; exit 1; }
	rm -f "$dir.log"
}

# run DIR SUITE...: runs suites and adds up their results.
run() {
	local dir=$1 suites=() s p f k names
	shift
	say "test $dir: $*"
	for s in "$@"; do suites+=(--suite "hashfs:$s"); done
	rm -f "$dir/meson-logs/run.json"  # results of the last time are none of this
	meson test -C "$dir" --no-rebuild --print-errorlogs --logbase run "${suites[@]}" || true
	if ! read -r p f k names < <(results "$dir/meson-logs/run.json"); then
		p=0 f=1 k=0 names="meson test"
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + k))
	[ -z "$names" ] || bad+=("$dir: $names")
}

# Prints how many passed, failed and were skipped, and the names of the two latter.
results() {
	python3 - "$1" <<'EOF'
import json, sys
tests = [json.loads(line) for line in open(sys.argv[1])]
good = [t for t in tests if t["result"] in ("OK", "EXPECTEDFAIL")]
skipped = [t for t in tests if t["result"] == "SKIP"]
bad = [t for t in tests if t not in good and t not in skipped]
if not tests:
    sys.exit("no test was run")
print(len(good), len(bad), len(skipped), *(f"{t['name'].split()[-1]} ({t['result'].lower()})" for t in bad + skipped))
EOF
}

# The mounts and loop devices of tests that are over: a test that runs holds the lock of its directory, maybe in another
# checkout. (Daemons end with the pid namespace of their test.)
what_tests_left() {
	awk '$2 ~ /\/hashfs-test\./ { print "mount", $2 }' /proc/mounts
	local device file
	{ losetup -l -n -O NAME,BACK-FILE || true; } | while read -r device file; do
		case $file in
		*/hashfs-test.*)
			[ -f "${file%/*}/lock" ] && ! flock -n "${file%/*}/lock" true || echo "loop device $device $file" ;;
		esac
	done
}

# Tests clean up after themselves; that is a test as well. The kernel may take a moment to free a namespace.
check_left_overs() {
	local left
	for _ in {1..20}; do
		left=$(comm -13 <(echo "$before" | sort) <(what_tests_left | sort))
		[ -n "$left" ] || return 0
		sleep 0.5
	done
	failed=$((failed + 1))
	bad+=("left over: $left")
}

before=$(what_tests_left)
tools/setup.sh
build build-release --buildtype=release  # as users build it: the compiler warns of more
build build
run build lint unit cli mount crash
build build-asan -Db_sanitize=address,undefined -Db_lundef=false
run build-asan unit cli mount crash
say "fuzz"
if tools/fuzz.sh "$([ "$TEST_SCALE" = full ] && echo 600 || echo 10)"; then
	passed=$((passed + 1))
else
	failed=$((failed + 1))
	bad+=("tools/fuzz.sh")
fi
if [ "$TEST_SCALE" = full ]; then
	build build-tsan -Db_sanitize=thread -Db_lundef=false
	run build-tsan unit mount
fi
check_left_overs

say "done"
[ "${#bad[@]}" = 0 ] || printf '%s\n' "${bad[@]}"
if [ "$skipped" -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ "$failed" = 0 ]
