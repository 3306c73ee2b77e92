#!/bin/bash
# Fuzzes everything that parses bytes it did not write, each target for SECONDS (10), with ASan and UBSan. What is found is
# left in build-fuzz/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
targets=(fuzz_exclude fuzz_format fuzz_index fuzz_journal fuzz_listing fuzz_mark fuzz_name fuzz_registry)

[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
	-Dc_args='-fsanitize=fuzzer-no-link -Wno-error' >build-fuzz.log 2>&1 || { cat build-fuzz.log; exit 1; }
ninja -C build-fuzz "${targets[@]/#/tests/fuzz/}" >build-fuzz.log || { cat build-fuzz.log; exit 1; }
rm -f build-fuzz.log

found=0
for t in "${targets[@]}"; do
	corpus=build-fuzz/corpus/$t
	mkdir -p "$corpus" build-fuzz/findings
	python3 tests/fuzz/seeds.py "$t" "build-fuzz/seeds/$t"
	if "build-fuzz/tests/fuzz/$t" -max_total_time="$seconds" -max_len=16384 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
		-artifact_prefix="build-fuzz/findings/$t-" "$corpus" "build-fuzz/seeds/$t" >"build-fuzz/$t.log" 2>&1; then
		echo "$t: $(awk '/number_of_executed_units/ {print $2}' "build-fuzz/$t.log") inputs, no finding"
	else
		found=1
		tail -n 40 "build-fuzz/$t.log"
		echo "$t: a finding, in build-fuzz/findings"
	fi
done
exit $found
