#!/bin/bash
# Runs one static analyser over our sources: lint.sh cppcheck|clang-tidy BUILD_DIR
set -eu
cd "$(dirname "$0")/.."
build=$2
case $1 in
cppcheck)
	# The analysers' own limits: attributes for cleanup look like unused or uninitialised variables to it.
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=memleak --suppress=nullPointerOutOfMemory --suppress=nullPointerArithmeticOutOfMemory \
		--error-exitcode=1 -D_GNU_SOURCE -I. -j "$(nproc)" store hashify fs
	;;
clang-tidy)
	find store hashify fs -name '*.c' -print0 | xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet -p "$build" 2>/dev/null
	;;
esac
