#!/usr/bin/env bash
# Callers that the daemon's pid namespace does not have, as where hashfs runs in a container: the kernel gives each of them the
# number 0.
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

fs_new ext4
for g in a b; do
	mkdir -p "$POOL/$g/dir"
	for i in $(seq 160); do
		printf '%030000d' "$i" >"$POOL/$g/dir/f$i"
		touch -d @1000000000 "$POOL/$g/dir/f$i"
	done
done
hashify_pool
mkdir "$W/m"
unshare --pid --fork --kill-child "$HASHFS" -f "$POOL/a" "$W/m" &
for _ in $(seq 100); do
	mountpoint -q "$W/m" && break
	sleep 0.1
done
mountpoint -q "$W/m" || fail "not mounted"

"$PYTHON" - "$W/m/dir" "$POOL" <<-'END' || fail "callers from outside"
	import os, sys

	top, pool = sys.argv[1:]
	held = []
	for i in range(1, 81):  # somebody reads each while it is opened for writing
	    path = "%s/f%d" % (top, i)
	    held.append(os.open(path, os.O_RDONLY))
	    w = os.open(path, os.O_WRONLY)
	    os.pwrite(w, b"x", 0)
	    os.close(w)
	    assert open(path).read(1) == "x", path
	    assert os.pread(held[-1], 1, 0) == b"0", path
	for i in range(81, 161):
	    path = "%s/f%d" % (top, i)
	    held.append(os.open(path, os.O_RDONLY))
	    os.truncate(path, 5)
	    assert os.stat(path).st_size == 5, path
	    assert len(open(path).read()) == 5, path
	    assert os.stat("%s/a/dir/f%d" % (pool, i)).st_size == 5, path
	    assert os.stat("%s/b/dir/f%d" % (pool, i)).st_size == 30000, path
END
say "ok    writers and truncation beside readers"
umount "$W/m"
wait
