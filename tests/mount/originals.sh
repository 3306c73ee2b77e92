#!/usr/bin/env bash
# The ten tests that the systems before this one fail by their own code, each by name.
DEFAULT_TIMEOUT=900
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need setfacl getfacl getfattr

bad=0

# Nothing half-made is left, the guests are whole, and the next pass works.
expect_recovered() {
	inventory --no-marks --no-hardlinks "$POOL/a" >"$W/before"
	hashify_pool
	inventory --no-marks --no-hardlinks "$POOL/a" >"$W/after"
	same "$W/before" "$W/after" "hashify changed the guest when it recovered"
	[ -z "$(ls -A "$POOL/.hash/tmp")" ] || fail "left in tmp: $(ls -A "$POOL/.hash/tmp")"
}

# power_cut FILESYSTEM DELAY OPTIONS: what its mount was doing when the power went.
power_cut() {
	local count=600 r=0
	fs_new "$1" 400M
	"$PYTHON" "$TEST_DIR/powercut.py" seed "$POOL" $count
	hashify_pool
	sync
	guests_mount "$3" a
	rm -f "$W"/report.*
	"$PYTHON" "$TEST_DIR/powercut.py" break "$POOL" "$M/a" $count "$2" "$W/report"
	guest_umount "$M/a"
	umount "$FS"
	fs_mount "$1"
	"$PYTHON" "$TEST_DIR/powercut.py" check "$POOL" $count "$W/report" || r=1
	expect_recovered
	return $r
}

# A guest's program rewrites files all the time while hashify runs, natively, as a container on the pool itself would.
changed_while_hashed() {
	local writer
	fs_new "$1"
	"$PYTHON" "$TEST_DIR/changing.py" seed "$POOL"
	"$PYTHON" "$TEST_DIR/changing.py" write "$POOL" "$W/stop" "$W/report" &
	writer=$!
	for _ in 1 2 3; do
		"$HASHIFY" "$POOL" >"$W/hashify.log" 2>&1 || { cat "$W/hashify.log"; bad=1; }
	done
	touch "$W/stop"
	wait $writer || bad=1
	rm "$W/stop"
	"$PYTHON" "$TEST_DIR/changing.py" check "$POOL" "$W/report" || bad=1
}

seventy_thousand() {
	local n=70000 inodes
	fs_new ext4 900M -N 120000
	"$PYTHON" - "$POOL" $n <<-'END'
		import sys, tree
		for i in range(int(sys.argv[2])):
		    tree.put("%s/a/%d/%d" % (sys.argv[1], i // 1000, i), b"the same " * 500)
		tree.put(sys.argv[1] + "/b/one", b"the same " * 500)
	END
	hashify_pool
	find "$POOL/a" -type f -printf '%i %n\n' | sort -u >"$W/inodes"
	inodes=$(wc -l <"$W/inodes")
	[ "$inodes" -le 2 ] || fail "$n identical files have $inodes inodes"
	awk '$2 < 2 {exit 1}' "$W/inodes" || fail "one of them is alone"

	guest_mount "$POOL/a" "$W/m/a"
	for i in 0 1 64999 65000 65001 69999; do
		echo "changed $i" >>"$W/m/a/$((i / 1000))/$i"
	done
	guest_umount "$W/m/a"
	[ "$(find "$POOL/a" -type f -links 1 | wc -l)" = 6 ] || fail "6 links were written, $(find "$POOL/a" -type f -links 1 | wc -l) were broken"
	[ "$(find "$POOL/a" -type f -size 4500c | wc -l)" = $((n - 6)) ] || fail "others have changed"
	hashify_pool  # the link limit must not stop it now either
}

for fs in $(filesystems ext4); do
	on_guests originals.py "$fs" || bad=1
done

title "8. power cut at every step of a replace"
if full; then
	delays=$("$PYTHON" -c 'print(*("%.3f" % (0.004 * 1.18 ** i) for i in range(25)))')
else
	delays="0.01 0.06 0.15"
fi
for fs in ext4 xfs; do
	for d in $delays; do
		power_cut "$fs" "$d" "" || bad=1
	done
done
[ $bad != 0 ] || say "ok    8. power cut at every step of a replace"

title "9. a file changed between hash and link"
changed_while_hashed ext4
[ $bad != 0 ] || say "ok    9. a file changed between hash and link"

title "10. 70,000 identical files on ext4"
seventy_thousand
say "ok    10. 70,000 identical files on ext4"
exit $bad
