#!/usr/bin/env bash
# hashify gc beside mounts: what it frees is free, though the guests have read it; and who still has it open keeps it.
DEFAULT_TIMEOUT=60
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

fs_new ext4
head -c 40M /dev/urandom >"$W/big"
for g in a b; do
	mkdir "$POOL/$g"
	for n in unlinked broken held; do
		{ cat "$W/big"; echo $n; } >"$POOL/$g/$n"
		touch -d @1000000000 "$POOL/$g/$n"
	done
done
hashify_pool
expect_links "$POOL/a/unlinked" "$POOL/a/broken" "$POOL/a/held"
guests_mount '' a b
used() { sync -f "$FS"; df --output=used -BM "$FS" | tail -n 1 | tr -dc 0-9; }

# frees MEGABYTES WHAT: gc gives them back, soon: the kernel frees the inode when the daemon has heard that nobody knows it.
frees() {
	local before deadline
	before=$(used)
	"$HASHIFY" gc "$POOL" >"$W/said" || { cat "$W/said" >&2; fail "gc"; }
	deadline=$((SECONDS + 5))
	until [ $((before - $(used))) -ge "$1" ]; do
		[ $SECONDS -lt $deadline ] || fail "$2: $before MiB used before gc, $(used) after: $(cat "$W/said")"
	done
	say "ok    freed: $2"
}

cat "$M"/?/unlinked "$M"/?/broken >/dev/null
rm "$M"/?/unlinked
frees 40 "a file that each guest has read and removed"
for g in a b; do : >"$M/$g/broken"; done
frees 40 "a file that each guest has read and changed"

"$PYTHON" - "$M/a/held" "$M/b/held" "$HASHIFY" "$POOL" <<-'END' || fail "who holds a file that gc removes"
	import os, subprocess, sys
	a, b, hashify, pool = sys.argv[1:]
	size = os.stat(a).st_size
	path, read = os.open(a, os.O_PATH), os.open(b, os.O_RDONLY)
	os.unlink(a)
	os.unlink(b)
	subprocess.run([hashify, "gc", pool], check=True, stdout=subprocess.DEVNULL)
	with open("/proc/sys/vm/drop_caches", "w") as f:
	    f.write("3")
	for fd in path, read:
	    st = os.fstat(fd)
	    assert (st.st_size, st.st_nlink) == (size, 0), st
	again = os.open("/proc/self/fd/%d" % path, os.O_RDONLY)
	assert os.pread(again, 5, size - 5) == os.pread(read, 5, size - 5) == b"held\n"
END
say "ok    who has the file open, even by O_PATH, keeps it"
deadline=$((SECONDS + 5))
until [ "$(used)" -lt 40 ]; do
	[ $SECONDS -lt $deadline ] || fail "closed, and $(used) MiB are still used"
done
guests_umount a b
