#!/usr/bin/env bash
# Guests read one file through two mounts and natively, and memory holds it once: the same physical pages, the same page cache.
DEFAULT_TIMEOUT=200
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

bad=0
for fs in $(filesystems ext4 xfs btrfs); do
	on_guests share.py "$fs" || bad=1
done
on_guests share.py ext4 passthrough=no none || bad=1

title "reading moves no object's atime: it is read through a mount that the kernel keeps from being written to"
fs_new ext4
mount -o remount,strictatime "$FS"
for g in a b; do
	mkdir "$POOL/$g"
	for n in 1 2; do echo hello >"$POOL/$g/f$n"; done
	touch -d @1000000000 "$POOL/$g"/*
done
echo private >"$POOL/a/f2"
touch -a -d @1000000000 "$POOL/a/f2"
hashify_pool
expect_links "$POOL/a/f1"
guests_mount passthrough=yes a
cat "$M/a/f1" "$M/a/f2" >/dev/null
guests_umount a
[ "$(stat -c %X "$POOL/a/f1")" = 1000000000 ] || fail "the object's atime is $(stat -c %x "$POOL/a/f1")"
[ "$(stat -c %X "$POOL/a/f2")" != 1000000000 ] || fail "a private file's atime has not moved: this proves nothing"
for option in noatime ro; do
	touch -a -d @1000000000 "$POOL/a/f2" "$POOL/a"
	guests_mount "$option" a
	ls "$M/a" >/dev/null
	cat "$M/a/f2" >/dev/null
	guests_umount a
	[ "$(stat -c %X "$POOL/a/f2" "$POOL/a" | uniq)" = 1000000000 ] || fail "-o $option: $(stat -c '%n: %x ' "$POOL/a/f2" "$POOL/a")"
done
on_guests share.py ext4 coherent coherent || bad=1
exit $bad
