#!/usr/bin/env bash
# Links look private: st_nlink 1, an inode number of their own that nothing changes; and a guest's own hard links stay one file.
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need tar du mv ln

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
ln "$POOL/a/copy" "$POOL/a/copy2"
getfattr -m - "$POOL/a/copy" 2>/dev/null | grep -q hashfs || fail "cp -a has not copied the mark: this proves nothing"
guest_mount "$POOL/a" "$W/m/a"
[ "$(stat -c %h "$W/m/a/copy")" = 2 ] || fail "the copy has $(stat -c %h "$W/m/a/copy") names, not 2"
[ "$W/m/a/copy" -ef "$W/m/a/copy2" ] || fail "the two names are not one file"
echo more >>"$W/m/a/copy"
cmp "$W/m/a/copy" "$W/m/a/copy2" || fail "written through one name, not seen through the other"
guest_umount "$W/m/a"
[ "$POOL/a/copy" -ef "$POOL/a/copy2" ] || fail "the two names are not one file on the disk"
say "ok    a copy that carries an object's mark is a private file"
exit $bad
