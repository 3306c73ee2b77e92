#!/usr/bin/env bash
# Mounts on and over what a mount serves: a single file bind-mounted, a mount inside a guest, overlayfs on a guest.
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"

fs_new ext4
for g in a b; do
	mkdir -p "$POOL/$g/dir"
	for i in 1 2 3 4 5 6 7 8; do
		printf '%0300000d' "$i" >"$POOL/$g/dir/f$i"
		touch -d @1000000000 "$POOL/$g/dir/f$i"
	done
done
hashify_pool
expect_links "$POOL/a/dir/f1"
inventory --no-hardlinks "$POOL/b" >"$W/b"
store_inventory >"$W/store"
guests_mount "" a
A=$M/a/dir

# bind NAME: sets T, where that one file is mounted.
bind() {
	T=$W/bound.$1
	touch "$T"
	mount --bind "$A/$1" "$T"
}

bind f1
echo more >>"$T"
[ "$(tail -c 5 "$A/f1")" = more ] || fail "written through the bind mount, not seen by name"
chmod 600 "$T"
[ "$(stat -c %a "$A/f1")" = 600 ] || fail "chmod through the bind mount is not seen by name"
[ "$(stat -c %i "$T")" = "$(stat -c %i "$A/f1")" ] || fail "inode numbers differ"
umount "$T"
say "ok    a bind-mounted link is written"

bind f2
exec 5<"$T"
chmod 600 "$T" || fail "chmod through the bind mount of a file that is open"
[ "$(stat -c %a "$T" "$A/f2" | sort -u)" = 600 ] || fail "modes $(stat -c %a "$T" "$A/f2" | tr '\n' ' ')"
if ! echo more 2>"$W/said" >>"$T"; then
	grep -qiE 'busy' "$W/said" || { cat "$W/said" >&2; fail "a file held open and bind-mounted: only EBUSY or success will do"; }
fi
printf 'by name\n' >>"$A/f2" || fail "write by name while it is open through a bind mount"
[ "$(tail -c 8 "$A/f2") $(tail -c 8 "$POOL/a/dir/f2")" = "by name by name" ] || fail "by name and natively differ"
[ "$(head -c 300000 <&5 | cksum)" = "$(head -c 300000 "$POOL/b/dir/f2" | cksum)" ] || fail "the open descriptor reads something else"
exec 5<&-
echo again >>"$T" || fail "the bind mount cannot be written after the descriptor was closed"
[ "$(tail -c 6 "$POOL/a/dir/f2")" = again ] || fail "written through the bind mount: not there"
[ "$(tail -c 6 "$A/f2")" = again ] || fail "written through the bind mount: not seen by name"
umount "$T"
say "ok    a bind-mounted link that is held open is changed"

printf over >"$W/over"
exec 5<"$A/f7"
chmod 640 "$A/f7"
exec 6<"$A/f8"
mount --bind "$W/over" "$A/f7"
mount --bind "$W/over" "$A/f8"
chmod 640 /proc/self/fd/6
for i in 1 2; do
	touch "$A/new.$i"  # or the kernel would not ask
	rm "$A/new.$i"
	ls -l "$A" >/dev/null
	echo 2 >/proc/sys/vm/drop_caches
done
[ "$(cat "$A/f7") $(cat "$A/f8")" = "over over" ] || fail "a mount over a file has gone when the directory was listed"
umount "$A/f7"
umount "$A/f8"
[ "$(ls -i "$A" | awk '$2 == "f7" {print $1}')" = "$(stat -c %i "$A/f7")" ] || fail "the listing shows another inode number"
[ "$(stat -c %a "$A/f7" "$A/f8" | sort -u)" = 640 ] || fail "modes $(stat -c %a "$A/f7" "$A/f8" | tr '\n' ' ')"
exec 5<&- 6<&-
say "ok    a mount over a file stays when the directory is listed"

mkdir "$A/sub"
mount -t tmpfs tmpfs "$A/sub"
touch "$A/sub/in"
echo x >>"$A/f3"
chmod 600 "$A/f4"
echo 2 >/proc/sys/vm/drop_caches
mv "$A/f3" "$A/f3.moved"
[ -e "$A/sub/in" ] || fail "the mount inside the guest is gone"
refuses 'busy' rmdir "$A/sub"
umount "$A/sub"
[ -z "$(ls "$A/sub")" ] || fail "what was written to the mount inside arrived in the guest"
rmdir "$A/sub"
say "ok    mounts inside a guest stay"

mkdir "$W"/{upper,work,merged}
mount -t tmpfs tmpfs "$W/upper"  # overlayfs wants both on one filesystem that has what it needs
mkdir "$W/upper"/{u,w}
mount -t overlay overlay -o "lowerdir=$M/a,upperdir=$W/upper/u,workdir=$W/upper/w" "$W/merged" || fail "overlayfs does not mount on a guest"
cmp "$W/merged/dir/f5" "$POOL/b/dir/f5"
"$PYTHON" - "$W/merged/dir/f5" "$POOL/b/dir/f5" <<-'END' || fail "overlayfs on a guest does not share the pages"
	import os, sys, kernel
	frames = [kernel.Mapping(os.open(p, os.O_RDONLY), 300_000).frames() for p in sys.argv[1:]]
	sys.exit(not all(frames[0]) or frames[0] != frames[1])
END
echo up >>"$W/merged/dir/f5"
chmod 600 "$W/merged/dir/f6"
cmp "$A/f5" "$POOL/b/dir/f5" || fail "a write to the overlay changed the guest"
is_link "$POOL/a/dir/f5" || fail "a write to the overlay broke the guest's link"
umount "$W/merged"
say "ok    overlayfs on a guest shares its pages, and writes elsewhere"

guests_umount a
inventory --no-hardlinks "$POOL/b" >"$W/b.after"
same "$W/b" "$W/b.after" "guest b has changed"
store_inventory >"$W/store.after"
same "$W/store" "$W/store.after" "an object has changed"
