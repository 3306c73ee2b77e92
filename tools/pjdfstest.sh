#!/usr/bin/env bash
# Runs pjdfstest, the public suite of POSIX file system tests, on each filesystem natively, through hashfs, and through hashfs with every
# file a link before each step; prints how many tests pass and each that fails.
#
#   HASHIFY=build/hashify/hashify HASHFS=build/fs/hashfs tools/pjdfstest.sh CHECKOUT [FILESYSTEM…]
#
# CHECKOUT is the built suite (https://github.com/pjd/pjdfstest; autoreconf -i && ./configure && make). It is no part of this
# repository.
DEFAULT_TIMEOUT=7200
. "$(dirname "$0")/../tests/support/mount.sh"
need cc openssl xargs

suite=$(realpath "${1:?the directory of a built pjdfstest}")
[ -x "$suite/pjdfstest" ] || fail "$suite/pjdfstest is missing: build it first, by autoreconf -i && ./configure && make"
shift
cc -O2 -Wall -Wextra -Werror -o "$W/links" "$TEST_DIR/pjdfstest-links.c" || fail "cc"

# A test finds the program that it calls above its own directory.
for s in plain links; do
	mkdir "$W/$s.suite"
	cp -r "$suite/tests" "$W/$s.suite"
done
cp "$suite/pjdfstest" "$W/plain.suite"
cp "$W/links" "$W/links.suite/pjdfstest"
export PJDFSTEST=$suite/pjdfstest

# run_suite SUITE DIR RESULTS [TWINS]: each test in a directory of its own.
run_suite() {
	mkdir -p "$3"
	( cd "$W/$1.suite/tests" && find . -name '*.t' | sort ) | xargs -P 8 -I{} bash -c '
		name=${4//\//-} name=${name#.-}
		mkdir -m 755 "$2/$name" && cd "$2/$name" || exit 255
		TWINS=${5:+$5/$name} TEST_NATIVE=${6:+$6/$name} timeout 600 sh "$1/$4" >"$3/$name" 2>"$3/$name.stderr" </dev/null
		echo "status $?" >>"$3/$name"
	' _ "$W/$1.suite/tests" "$2" "$3" {} "${4:-}" "${5:-}"
}

# judge RESULTS [NATIVE]: what failed, and the sum. A script that did not come to the end of its plan fails. What the suite itself marks as
# not to be expected of Linux (TODO) counts as well where it passes natively.
judge() {
	"$PYTHON" - "$@" <<-'END'
		import os, re, sys

		def read(results, name):
		    with open(os.path.join(results, name), errors="replace") as f:
		        lines = f.read().splitlines()
		    plan = next((int(m[1]) for m in (re.match(r"1\.\.(\d+)", x) for x in lines) if m), None)
		    tests = {int(m[2]): x for m, x in ((re.match(r"(not )?ok (\d+)", x), x) for x in lines) if m}
		    ended = len(tests) == plan and lines[-1] == "status 0"
		    return tests, plan, None if ended else "%d tests of %s, %s" % (len(tests), plan, lines[-1])

		ok = todo = failed = skipped = 0
		for name in sorted(n for n in os.listdir(sys.argv[1]) if n.endswith(".t")):
		    tests, plan, why = read(sys.argv[1], name)
		    native = read(sys.argv[2], name)[0] if len(sys.argv) > 2 else {}
		    skipped += plan == 0
		    bad = [why] if why and plan != 0 else []
		    for n, line in tests.items():
		        if line.startswith("ok"):
		            ok += 1
		        elif "# TODO" in line and not native.get(n, "").startswith("ok"):
		            todo += 1
		        else:
		            bad.append(line)
		    failed += len(bad)
		    for x in bad:
		        print("      %s: %s" % (name, x if len(x) < 240 else x[:120] + "…" + x[-100:]))
		print("%s  %d pass, %d fail; of Linux not expected: %d tests, and %d scripts as a whole"
		      % ("FAIL" if failed or not ok else "ok  ", ok, failed, todo, skipped))
		sys.exit(failed > 0 or not ok)
	END
}

bad=0
for fs in "${@:-ext4}"; do
	fs_new "$fs" 1G
	mkdir -m 755 "$POOL"/{a,twins}
	hashify_pool
	# The suite knows what some filesystems do, and hashfs does what that below it does.
	for s in plain links; do
		sed "s/^\tfs=.df -PT.*/\tfs=${fs^^}/" "$suite/tests/conf" >"$W/$s.suite/tests/conf"
		grep -q "fs=${fs^^}$" "$W/$s.suite/tests/conf" || fail "the suite's conf does not look as it did"
	done
	title "$fs, natively"
	run_suite plain "$NATIVE" "$W/results.$fs.native"
	judge "$W/results.$fs.native" || bad=1

	title "$fs, through hashfs"
	guest_mount "$POOL/a" "$W/m"
	mkdir "$W/m/plain"
	run_suite plain "$W/m/plain" "$W/results.$fs.hashfs"
	judge "$W/results.$fs.hashfs" "$W/results.$fs.native" || bad=1
	guest_umount "$W/m"

	title "$fs, through hashfs, each file a link"
	# Links come natively here, which a mount that trusts what it has seen would not find.
	guest_mount "$POOL/a" "$W/m" cache=0
	mkdir "$W/m/links"
	run_suite links "$W/m/links" "$W/results.$fs.links" "$POOL/twins" "$POOL/a/links"
	judge "$W/results.$fs.links" "$W/results.$fs.native" || bad=1
	guest_umount "$W/m"
	# A twin's name says what it was when it became one.
	find "$POOL/twins" -type f -printf '%f %i-%m-%U-%G-%s-%T@\n' >"$W/twins"
	say "      $(wc -l <"$W/twins") files were links"
	[ -s "$W/twins" ] && ! awk '$1 != $2 { print "FAIL  an object has changed: was " $1 ", is " $2; r = 1 } END { exit !r }' "$W/twins" || bad=1
done
exit $bad
