#!/usr/bin/env bash
# A pass was killed between the exchange of a file and the drop of what the link displaced, and a guest has written to that: a mount
# shows what it wrote, or does not come about.
DEFAULT_TIMEOUT=120
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need flock

M=$W/m

# Leaves in tmp/ what such a pass leaves: the file of b/f, with that content.
given_displaced() {
	local object name born
	fs_new "$1"
	for g in a b; do
		mkdir -p "$POOL/$g"
		printf '%09000d' 1 >"$POOL/$g/f"
		touch -d @1000000000 "$POOL/$g/f"
	done
	hashify_pool
	expect_links "$POOL"/{a,b}/f
	object=$(cd "$POOL/.hash/objects" && ls -- */*)
	name=worker-0/${object#*/}.0.0
	mkdir "$POOL/.hash/tmp/worker-0"
	echo "$2" >"$POOL/.hash/tmp/$name"
	born=$(stat -c %.9W "$POOL/b")
	printf '%s\n%016x %016x\nb/f\0' "$name" "$(stat -c %i "$POOL/b")" "${born/./}" >"$POOL/.hash/tmp/journal-0"
}

# hold FILE HOW: sets HOLDER to a process that has its lock, LOCK_SH or LOCK_EX.
hold() {
	: >"$W/held"
	"$PYTHON" -c 'import fcntl, os, signal, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), getattr(fcntl, sys.argv[2]))
print("held", flush=True)
signal.pause()' "$1" "$2" >"$W/held" &
	HOLDER=$!
	until [ -s "$W/held" ]; do kill -0 $HOLDER; done
}
let_go() {
	kill $HOLDER
	wait $HOLDER || true
}

is_in_order() {
	[ "$(cat "$1")" = "$2" ] || fail "$1 is not what the guest has written, but begins with $(head -c 20 "$1")"
	[ -z "$(ls -A "$POOL/.hash/tmp")" ] || fail "left in tmp: $(ls -A "$POOL/.hash/tmp")"
	cmp -s "$POOL/a/f" <(printf '%09000d' 1) || fail "a/f has changed"
}

for kind in $(filesystems ext4); do
	title "$kind"
	given_displaced "$kind" written
	guest_mount "$POOL/b" "$M"
	grep -q '1 put back' "$W/hashfs.log" || fail "hashfs has not said it: $(cat "$W/hashfs.log")"
	is_in_order "$M/f" written
	mkdir -p "$W/m2"
	guest_mount "$POOL/a" "$W/m2"
	guest_umount "$W/m2"
	guest_umount "$M"
	is_in_order "$POOL/b/f" written
	hashify_pool
done
say "ok    it is put back, and said so"

title "shifted ids, of which the file's is none"
given_displaced ext4 written
chown 70000:70001 "$POOL"/.hash/tmp/worker-0/*
guest_mount "$POOL/b" "$M" idmap=b:0:100000:65536
guest_umount "$M"
is_in_order "$POOL/b/f" written
[ "$(stat -c %u:%g "$POOL/b/f")" = 70000:70001 ] || fail "owner $(stat -c %u:%g "$POOL/b/f")"
say "ok    it is put back with the owner that it had"

title "who keeps a mount from putting it back"
given_displaced ext4 written
hold "$POOL/.hash/lock" LOCK_SH
refuses 'killed.*another program' "$HASHFS" "$POOL/b" "$M"
let_go
refuses 'at work' flock -x "$POOL/.hash/pass" "$HASHFS" "$POOL/b" "$M"
mount -o remount,ro "$FS"
refuses 'killed.*read-only' "$HASHFS" "$POOL/b" "$M"
mount -o remount,rw "$FS"
guest_mount "$POOL/b" "$M"
is_in_order "$M/f" written
guest_umount "$M"

title "mounts that begin at the same time wait for it"
given_displaced ext4 written
hold "$POOL/.hash/mounts" LOCK_EX
"$HASHFS" "$POOL/b" "$M" &
first=$!
"$HASHFS" "$POOL/a" "$W/m2" &
second=$!
let_go
wait $first || fail "the mount of b: status $?"
wait $second || fail "the mount of a: status $?"
is_in_order "$M/f" written
guest_umount "$M"
guest_umount "$W/m2"
say "ok    and both work"
