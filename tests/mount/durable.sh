#!/usr/bin/env bash
# What a guest has made durable of a file that was shared a moment ago is there after a power cut, in whatever way it asked: the
# content is its own, and so must be the name that leads there. The power is cut by a copy of the device, taken while it is mounted.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

WAYS="fsync fdatasync O_DSYNC RWF_DSYNC msync chmod,fdatasync remount,fdatasync held,fdatasync held,msync held,by_held append,O_DSYNC"

# write_durably FILE WAY: writes in place, which neither changes the size nor takes a block, unless the file can only be appended to.
write_durably() {
	"$PYTHON" - "$1" "$2" <<-'END'
		import mmap, os, subprocess, sys
		path, *before, way = [sys.argv[1]] + sys.argv[2].split(",")
		held = os.open(path, os.O_RDONLY) if "held" in before else None
		if "chmod" in before:
		    os.chmod(path, 0o640)
		append = "append" in before
		if append:
		    subprocess.run(["chattr", "+a", path], check=True)
		flags = os.O_RDWR if way == "msync" else os.O_WRONLY
		fd = os.open(path, flags | append * os.O_APPEND | (way == "O_DSYNC") * os.O_DSYNC)
		if way == "msync":
		    with mmap.mmap(fd, 8192) as m:
		        m[4096:4103] = b"WRITTEN"
		        m.flush(4096, 4096)
		elif way == "RWF_DSYNC":
		    os.pwritev(fd, [b"WRITTEN"], 4096, os.RWF_DSYNC)
		else:
		    os.write(fd, b"WRITTEN") if append else os.pwrite(fd, b"WRITTEN", 4096)
		    {"fsync": os.fsync, "fdatasync": os.fdatasync, "by_held": lambda fd: os.fsync(held), "O_DSYNC": lambda fd: None}[way](fd)
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
	if [ "${2%%,*}" = remount ]; then
		chmod 640 "$M/a/$2"
		guest_umount "$M/a"
		guests_mount "$3" a
	fi
	write_durably "$M/a/$2" "$2"
	cp --sparse=always "$W/image.$1" "$W/cut"
	fs_drop
	mv "$W/cut" "$W/image.$1"
	fs_mount "$1"
	[ "$(tr -d '0-9\n' <"$POOL/a/$2")" = WRITTEN ] || { say "FAIL  $1${3:+, $3}: $2"; bad=1; return; }
	chattr -a "$POOL/a/$2"
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
