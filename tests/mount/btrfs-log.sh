#!/usr/bin/env bash
# btrfs, power cut: a guest's fsyncs write the log while a pass, unshare or a mount gives names other inodes; every name that was
# durable is there after the log's replay, with its content. The power is cut by a copy of the device, taken while it is mounted.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

FILES=200

# during DIRECTORY COMMAND…: as it begins, a file is made in each directory there, and both are fsynced.
during() {
	local top=$1
	shift
	"$PYTHON" - "$top" $FILES <<-'END' &
		import os, sys
		for i in range(int(sys.argv[2])):
		    d = os.open("%s/d%d" % (sys.argv[1], i), os.O_RDONLY)
		    fd = os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=d)
		    os.write(fd, b"new")
		    os.fsync(fd)
		    os.fsync(d)
		    os.close(fd)
		    os.close(d)
	END
	local fsyncing=$!
	"$@"
	wait "$fsyncing"
}

# check WHAT COMMAND…: the power is cut after COMMAND, which may be a function.
check() {
	local what=$1 i bad=0
	shift
	fs_new btrfs 600M
	mount -o remount,commit=300 "$FS"
	mkdir -p "$POOL/c"
	for g in a b; do
		for ((i = 0; i < FILES; i++)); do
			mkdir -p "$POOL/$g/d$i"
			printf '%050000d' "$i" >"$POOL/$g/d$i/f"
		done
	done
	find "$POOL" -exec touch -d @1000000000 {} +
	"$@"
	touch "$POOL/c/f"
	sync "$POOL/c/f"
	cp --sparse=always "$W/image.btrfs" "$W/cut"
	fs_drop
	mv "$W/cut" "$W/image.btrfs"
	fs_mount btrfs
	for ((i = 0; i < FILES; i++)); do
		for g in a b; do
			[ "$(cat "$POOL/$g/d$i/f" 2>/dev/null)" = "$(printf '%050000d' "$i")" ] || bad=$((bad + 1))
		done
	done
	[ "$bad" = 0 ] || fail "$what: $bad of $((2 * FILES)) files are not as they were"
	hashify_pool
	[ -z "$(ls "$POOL/.hash/tmp")" ] || fail "$what: left in tmp/: $(ls "$POOL/.hash/tmp")"
	say "ok    $what"
}

pass() {
	sync -f "$FS"
	sleep 1.5  # what is old is durable, and the pass need not fsync it
	during "$POOL/b" hashify_pool --io-limit=10M  # a's become the objects
}

unshare_guest() {
	hashify_pool
	sync -f "$FS"
	during "$POOL/a" true
	"$HASHIFY" unshare "$POOL/a" >"$W/said"
	sync "$POOL"/a/d*
}

breaks() {
	hashify_pool
	sync -f "$FS"
	guests_mount "" a
	during "$M/a" chmod 600 "$M"/a/d*/f
	sync "$M"/a/d*
}

check "a pass" pass
check "unshare" unshare_guest
check "breaks" breaks
