#!/usr/bin/env bash
# What a guest has made durable of a file that was shared a moment ago is there after a power cut, in whatever way it asked: the
# content is its own, and so must be the name that leads there. The power is cut by a copy of the device, taken while it is mounted.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

WAYS="fsync fdatasync O_DSYNC RWF_DSYNC msync chmod,fdatasync held,fdatasync held,msync"

# write_durably FILE WAY: writes in place, which neither changes the size nor takes a block.
write_durably() {
	"$PYTHON" - "$1" "$2" <<-'END'
		import mmap, os, sys
		path, *before, way = [sys.argv[1]] + sys.argv[2].split(",")
		held = os.open(path, os.O_RDONLY) if "held" in before else None
		if "chmod" in before:
		    os.chmod(path, 0o640)
		fd = os.open(path, os.O_RDWR if way == "msync" else os.O_WRONLY | (os.O_DSYNC if way == "O_DSYNC" else 0))
		if way == "msync":
		    with mmap.mmap(fd, 8192) as m:
		        m[4096:4103] = b"WRITTEN"
		        m.flush(4096, 4096)
		elif way == "RWF_DSYNC":
		    os.pwritev(fd, [b"WRITTEN"], 4096, os.RWF_DSYNC)
		else:
		    os.pwrite(fd, b"WRITTEN", 4096)
		    {"fsync": os.fsync, "fdatasync": os.fdatasync, "O_DSYNC": lambda fd: None}[way](fd)
	END
}

# check FILESYSTEM WAY OPTIONS
check() {
	local g
	for g in a b; do
		mkdir -p "$POOL/$g"
		printf '%070000d' 1 >"$POOL/$g/$2"
		touch -d @1000000000 "$POOL/$g/$2"
	done
	hashify_pool
	guests_mount "$3" a
	sync -f "$POOL"
	write_durably "$M/a/$2" "$2"
	cp --sparse=always "$W/image.$1" "$W/cut"
	fs_drop
	mv "$W/cut" "$W/image.$1"
	fs_mount "$1"
	[ "$(head -c 4103 "$POOL/a/$2" | tail -c 7)" = WRITTEN ] || { say "FAIL  $1${3:+, $3}: $2"; bad=1; return; }
	[ "$(stat -c %s "$POOL/a/$2")" = 70000 ] || fail "$1, $2: the size is $(stat -c %s "$POOL/a/$2")"
	! grep -q WRITTEN "$POOL/b/$2" || fail "$1, $2: another guest has it"
	say "ok    $1${3:+, $3}: $2"
}

bad=0
for fs in ext4 xfs btrfs; do
	for opts in "" passthrough=no; do
		fs_new "$fs" 400M
		for way in $WAYS; do
			# Nothing but what is asked for is to write the log.
			[ "$fs" = xfs ] || mount -o remount,commit=300 "$FS"
			check "$fs" "$way" "$opts"
		done
	done
done
exit $bad
