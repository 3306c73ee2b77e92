#!/usr/bin/env bash
# Links look private: st_nlink 1, an inode number of their own that nothing changes; and a guest's own hard links stay one file.
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need tar du mv ln getfattr

bad=0
for fs in $(filesystems ext4 btrfs); do
	on_guests inode.py "$fs" || bad=1
done
on_guests inode.py ext4 passthrough=no none || bad=1

# A copy that carries the mark of an object, and a guest's hard link of it, is a private file with two names.
title "a forged mark"
fs_new ext4
for g in a b; do
	mkdir -p "$POOL/$g"
	head -c 9000 /dev/zero | tr '\0' x >"$POOL/$g/f"
	touch -d @1000000000 "$POOL/$g/f"
done
hashify_pool
expect_links "$POOL/a/f"
cp -a "$POOL/a/f" "$POOL/a/copy"
cp -a "$POOL/a/f" "$POOL/a/native"
ln "$POOL/a/native" "$POOL/b/native"
getfattr -m - "$POOL/a/copy" 2>/dev/null | grep -q hashfs || fail "cp -a has not copied the mark: this proves nothing"
guest_mount "$POOL/a" "$W/m/a"
ino=$(stat -c %i "$POOL/a/copy")
ln "$W/m/a/copy" "$W/m/a/copy2"
[ "$(stat -c %i "$POOL/a/copy")" = "$ino" ] || fail "the copy was taken for a link"
[ "$(stat -c %h "$W/m/a/copy")" = 2 ] || fail "the copy has $(stat -c %h "$W/m/a/copy") names, not 2"
echo more >>"$W/m/a/copy"
cmp "$W/m/a/copy" "$W/m/a/copy2" || fail "written through one name, not seen through the other"
echo more >>"$W/m/a/native"
guest_umount "$W/m/a"
[ "$POOL/a/copy" -ef "$POOL/a/copy2" ] || fail "the two names are not one file on the disk"
cmp -s "$POOL/b/native" "$POOL/b/f" || fail "CHANGED ANOTHER GUEST through a marked file that guests share without a store"
say "ok    a copy that carries an object's mark is private, and kept apart where guests share it"
exit $bad
