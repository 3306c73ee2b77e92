#!/bin/bash
# All there is to test, on a fresh machine: set-up, build, lint, unit, cli, mount and crash tests, then the same
# tests of programs built with ASan and UBSan. TEST_SCALE=full (tools/test-full.sh) runs the long forms.
set -euo pipefail
cd "$(dirname "$0")/.."

export TEST_SCALE=${TEST_SCALE:-short}
export HASHFS_REQUIRE_MOUNT=1  # here a mount that fails is a failure, not a reason to skip
passed=0 failed=0 skipped=0

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
	if grep -q 'HAVE_URING' "$dir"/subprojects/fuse-*/fuse_config.h 2>/dev/null; then
		grep -q '#define HAVE_URING' "$dir"/subprojects/fuse-*/fuse_config.h ||
			{ echo "libfuse was configured without io_uring: liburing-dev or libnuma-dev is missing"; exit 1; }
	fi
	rm -f "$dir.log"
}

# run DIR SUITE...: runs suites and adds up their results.
run() {
	local dir=$1 suites=() s
	shift
	say "test $dir: $*"
	for s in "$@"; do suites+=(--suite "hashfs:$s"); done
	meson test -C "$dir" --no-rebuild --print-errorlogs --logbase "run" "${suites[@]}" || true
	read -r p f k < <(python3 - "$dir/meson-logs/run.json" <<'EOF'
import json, sys
results = [json.loads(line)["result"] for line in open(sys.argv[1])]
ok = sum(r in ("OK", "EXPECTEDFAIL") for r in results)
skip = sum(r == "SKIP" for r in results)
print(ok, len(results) - ok - skip, skip)
EOF
	)
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + k))
}

# Tests clean up after themselves; that is a test as well.
check_left_overs() {
	if grep -E ' fuse\.hashfs ' /proc/mounts || losetup -l -n -O BACK-FILE | grep -E 'hashfs'; then
		echo "left over: the mounts or loop devices above"
		failed=$((failed + 1))
	fi
}

tools/setup.sh
build build
run build lint unit cli mount crash
build build-asan -Db_sanitize=address,undefined -Db_lundef=false
run build-asan unit cli mount crash
if [ "$TEST_SCALE" = full ]; then
	build build-tsan -Db_sanitize=thread -Db_lundef=false
	run build-tsan unit mount
fi
check_left_overs

say "done"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
