#!/usr/bin/env bash
# How mounts begin and end: what cannot be mounted is refused with a sentence; what is mounted works when hashfs comes back; and however
# the daemon ends, the guests and the pool are whole.
DEFAULT_TIMEOUT=200
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need fusermount3 findmnt flock mount.fuse3

M=$W/m
as_user=(setpriv --reuid 1500 --regid 1500 --clear-groups --)
mkdir "$W/bin"
install -m 755 "$HASHFS" "$W/bin/hashfs"  # where every user may run it, and by its name

new_pool() {
	fs_new ext4
	for g in a b "c d, e\\f"; do
		mkdir -p "$POOL/$g/dir"
		for i in 1 2 3 4 5 6 7 8; do
			printf '%09000d' "$i" >"$POOL/$g/dir/f$i"
			touch -d @1000000000 "$POOL/$g/dir/f$i"
		done
	done
	mkdir -p "$M" "$FS/plain/dir"
	hashify_pool
	expect_links "$POOL/a/dir/f1"
}

works() { [ "$(head -c 9 "$1/dir/f1")" = 000000000 ] || fail "$1 does not work"; }
ended() { wait_gone "$1" 10 || fail "the daemon ($1) goes on after $2"; }
gone() { ! mountpoint -q "$1" || fail "$1 is still mounted after $2"; }
ok() { say "ok    $*"; }

title "what cannot be mounted"
new_pool
refuses 'usage|source|mountpoint' "$HASHFS"
refuses 'mountpoint|mount point|usage' "$HASHFS" "$POOL/a"
refuses 'unrecognized|invalid|unknown' "$HASHFS" --nonsense "$POOL/a" "$M"
refuses 'unknown option.*nonsense' "$HASHFS" -o nonsense "$POOL/a" "$M"
refuses 'passthrough' "$HASHFS" -o passthrough=maybe "$POOL/a" "$M"
refuses 'cache' "$HASHFS" -o cache=soon "$POOL/a" "$M"
refuses 'threads' "$HASHFS" -o threads=0 "$POOL/a" "$M"
refuses 'threads' "$HASHFS" -o threads=-1 "$POOL/a" "$M"
refuses 'no such|not exist' "$HASHFS" -o "store=$W/nowhere" "$POOL/a" "$M"
refuses "store=$POOL/.hash" "$HASHFS" -o "store=$POOL/a" "$POOL/a" "$M"
refuses "not a directory in the pool" "$HASHFS" -o "store=$POOL/.hash" "$FS/plain/dir" "$M"
refuses "not a directory in the pool" "$HASHFS" -o "store=$POOL/.hash" /proc "$M"
refuses 'in the store itself' "$HASHFS" -o "store=$POOL/.hash" "$POOL/.hash/objects" "$M"
refuses 'no such|not exist' "$HASHFS" "$POOL/nobody" "$M"
refuses 'not a directory' "$HASHFS" "$POOL/a/dir/f1" "$M"
refuses 'store|hashify' "$HASHFS" "$FS/plain/dir" "$M"
refuses 'store' "$HASHFS" "$POOL/.hash" "$M"
refuses 'store' "$HASHFS" "$POOL/.hash/objects" "$M"
refuses 'no such|not exist' "$HASHFS" "$POOL/a" "$M/missing"
refuses 'not a directory' "$HASHFS" "$POOL/a" "$POOL/b/dir/f1"
refuses 'permission|root' "${as_user[@]}" "$W/bin/hashfs" "$POOL/a" "$M"
refuses '/dev/fuse' unshare --mount sh -c 'mount -t tmpfs tmpfs /dev && exec "$@"' sh "$HASHFS" "$POOL/a" "$M"

mkdir "$W/beside"
mount --bind "$W/beside" "$POOL/b/dir"
refuses 'filesystem' "$HASHFS" "$POOL/b/dir" "$M"
umount "$POOL/b/dir"

cp -p "$POOL/.hash/format" "$W/format"
sed 's/hashfs-store [0-9]*/hashfs-store 999/' "$W/format" >"$POOL/.hash/format"
refuses 'version' "$HASHFS" "$POOL/a" "$M"
echo nonsense >"$POOL/.hash/format"
refuses 'format' "$HASHFS" "$POOL/a" "$M"
cp -p "$W/format" "$POOL/.hash/format"

mount -o remount,ro "$FS"
refuses 'read-only' "$HASHFS" "$POOL/a" "$M"
mount -o remount,rw "$FS"
gone "$M" "refusals"
guest_mount "$POOL/a" "$M"  # none of all this has done any harm
works "$M"
guest_umount "$M"

title "a pool that was restored without its marks"
tar -C "$POOL" -cf "$W/backup.tar" .
tar -C "$POOL" -xf "$W/backup.tar"  # over itself: .hash is the same directory
[ "$(stat -c %h "$POOL/a/dir/f1")" = 4 ] && ! is_link "$POOL/a/dir/f1" || fail "it has its marks still: this proves nothing"
refuses 'copied' "$HASHFS" "$POOL/a" "$M"
hashify_pool
expect_links "$POOL"/*/dir/f?
guest_mount "$POOL/a" "$M"
echo written | dd of="$M/dir/f4" conv=notrunc status=none
guest_umount "$M"
cmp "$POOL/b/dir/f4" <(printf '%09000d' 4) || fail "what a has written is in b"
rm "$W/backup.tar" "$POOL/a/dir/f4"
cp -p "$POOL/b/dir/f4" "$POOL/a/dir/f4"
hashify_pool
ok "is refused until its objects are marked anew"

title "help and version"
"$HASHFS" --help | grep -qi 'usage' || fail "--help"
"$HASHFS" --version | grep -q '[0-9]' || fail "--version"
ok "help and version"

title "one mount for a tree, and no hashify meanwhile"
guest_mount "$POOL/a" "$M"
mkdir -p "$W/m2"
refuses "$M" "$HASHFS" "$POOL/a" "$W/m2"
refuses "$M" "$HASHFS" "$POOL/a/dir" "$W/m2"
refuses "$M" "$HASHFS" "$POOL" "$W/m2"
refuses 'busy|mounted' "$HASHFS" "$POOL/b" "$M"
guest_mount "$POOL/b" "$W/m2"
works "$W/m2"
refuses "$M|$W/m2" "$HASHIFY" "$POOL"
"$HASHIFY" stat "$POOL" >"$W/said" || { cat "$W/said" >&2; fail "hashify stat while mounted"; }
guest_umount "$W/m2"
refuses "$M" "$HASHIFY" "$POOL"
guest_umount "$M"
hashify_pool
ok "the end of the last mount lets hashify in"

( flock -x 7; exec sleep 1000 ) 7<>"$POOL/.hash/lock" &
holder=$!
until ! flock -n -x "$POOL/.hash/lock" true; do :; done
refuses 'hashify' "$HASHFS" "$POOL/a" "$M"
kill $holder
wait $holder || true
guest_mount "$POOL/a" "$M"
ok "the end of hashify lets mounts in"
guest_umount "$M"

title "mounted again at once"
for _ in 1 2 3 4 5 6 7 8 9 10; do
	guest_mount "$POOL/a" "$M"
	umount "$M"
done
guest_mount "$POOL/a" "$M"
works "$M"
guest_umount "$M"
ok "the next mount waits for the daemon of the last one to end"

title "every way to name things"
(cd "$POOL" && guest_mount a ../../m && works "$M") || fail "relative paths"
guest_umount "$M"
ln -s "$POOL/a" "$W/symlink"
"$HASHFS" "$W/symlink/" "$M/" && works "$M" || fail "a symbolic link and a slash"
guest_umount "$M"
guest_mount "$POOL/c d, e\\f" "$W/m x, y\\z"
works "$W/m x, y\\z"
refuses 'm x, y' "$HASHFS" "$POOL/c d, e\\f" "$M"
umount "$W/m x, y\\z"
guest_mount "$POOL/a" "$POOL/a"
works "$POOL/a"
echo changed >>"$POOL/a/dir/f2"
guest_umount "$POOL/a"
grep -q changed "$POOL/a/dir/f2" || fail "what was written through a mount on its own source is not there"
! grep -q changed "$POOL/b/dir/f2" || fail "guest b has changed"
mkdir -p "$W/bound"
mount --bind "$POOL/a" "$W/bound"
refuses 'no pool' "$HASHFS" "$W/bound" "$M"
"$HASHFS" -o "store=$POOL/.hash,threads=2" "$W/bound" "$M" && works "$M" || fail "a bind mount of a guest"
refuses 'already served' "$HASHFS" "$POOL/a/dir" "$W/m x, y\\z"
refuses 'already served' "$HASHFS" -o "store=$POOL/.hash" "$POOL" "$W/m x, y\\z"
mkdir "$W/pool"
mount --bind "$POOL" "$W/pool"
refuses 'already served' "$HASHFS" "$W/pool/a" "$W/m x, y\\z"
refuses 'already served' "$HASHFS" "$W/pool" "$W/m x, y\\z"
umount "$W/pool"
echo changed >>"$M/dir/f3"
guest_umount "$M"
"$HASHFS" -o "store=$POOL/.hash" "$W/bound/dir" "$M"
grep -q changed "$M/f3" || fail "a directory of a bind mount"
guest_umount "$M"
umount "$W/bound"
! grep -q changed "$POOL/b/dir/f3" || fail "guest b has changed"
ok "relative, symbolic link, odd characters, on its own source, a bind mount"

title "mount(8) and fstab"
ln -sf "$HASHFS" "$W/bin/hashfs"
mount --bind "$W/bin" /usr/local/sbin  # as installed; in this namespace alone
mount -t fuse.hashfs "$POOL/a" "$M" -o ro,passthrough=auto
works "$M"
[ "$(findmnt -nro FSTYPE "$M")" = fuse.hashfs ] || fail "type $(findmnt -nro FSTYPE "$M")"
[ "$(findmnt -nro SOURCE "$M")" = "$POOL/a" ] || fail "source $(findmnt -nro SOURCE "$M")"
refuses 'read-only' sh -c "echo x >>$M/dir/f1"
is_link "$POOL/a/dir/f1" || fail "a refused write has broken the link"
guest_umount "$M"
echo "$POOL/a $M fuse.hashfs defaults,nofail,x-systemd.automount,_netdev 0 0" >"$W/fstab"
mount -T "$W/fstab" "$M"
works "$M"
case ,$(findmnt -nro OPTIONS "$M"), in
*,nosuid,* | *,nodev,*) fail "set-uid programs and devices do not work: $(findmnt -nro OPTIONS "$M")" ;;
*,allow_other,*) ;;
*) fail "not for all users: $(findmnt -nro OPTIONS "$M")" ;;
esac
"${as_user[@]}" cat "$M/dir/f1" >/dev/null || fail "a user cannot read through root's mount"
umount "$M"
guest_mount "$POOL/a" "$M" nosuid,nodev,noexec
findmnt -nro OPTIONS "$M" | grep -q 'nosuid.*nodev.*noexec' || fail "$(findmnt -nro OPTIONS "$M")"
guest_umount "$M"
mount --bind "$FS" "$FS"
mount -o remount,bind,nosuid,nodev "$FS"
for opts in defaults suid,dev user=alice; do
	mount -t fuse.hashfs "$POOL/a" "$M" -o "$opts"
	findmnt -nro OPTIONS "$M" | grep -q 'nosuid.*nodev' || fail "-o $opts undoes what the pool's mount forbids: $(findmnt -nro OPTIONS "$M")"
	guest_umount "$M"
done
umount "$FS"
guest_mount "$POOL/a" "$M" fsname=web,subtype=other
[ "$(findmnt -nro SOURCE,FSTYPE "$M")" = "web fuse.hashfs" ] || fail "$(findmnt "$M")"
guest_umount "$M"
for o in ro,rw atime,diratime,relatime,norelatime,strictatime noatime,nodiratime,nostrictatime \
	lazytime,nolazytime,silent,loud,nonempty,iversion,noiversion,mand,nomand,X-mine,x-mine; do
	guest_mount "$POOL/a" "$M" "$o"
	: >"$M/new" || fail "-o $o: cannot be written to"
	guest_umount "$M"
done
guest_mount "$POOL/a" "$M" rw,ro
refuses 'read-only' sh -c "echo x >$M/new"
guest_umount "$M"
rm "$POOL/a/new"
refuses 'auto_unmount' "$HASHFS" -o auto_unmount "$POOL/a" "$M"
refuses 'unmount it and mount it anew' "$HASHFS" -o remount,ro "$POOL/a" "$M"
ok "mount -t fuse.hashfs, fstab, options"

title "df"
guest_mount "$POOL/a" "$M"
[ "$(stat -f -c '%b %S %c' "$M")" = "$(stat -f -c '%b %S %c' "$POOL")" ] || fail "df: $(stat -f "$M")"
rm -f "$M/ballast"
before=$(df --output=avail -B1 "$M" | tail -n 1)
head -c 30M /dev/zero >"$M/ballast"
sync -f "$POOL"
during=$(df --output=avail -B1 "$M" | tail -n 1)
rm "$M/ballast"
# The daemon hears of it after rm has ended, and ext4 counts what was freed when it is committed.
deadline=$((SECONDS + 3)) after=0
while [ $((before - after)) -gt 2000000 ] && [ $SECONDS -lt $deadline ]; do
	sync -f "$POOL"
	after=$(df --output=avail -B1 "$M" | tail -n 1)
done
[ $((before - during)) -ge 30000000 ] || fail "30 MB more: df says $before before, $during after"
[ $((before - after)) -le 2000000 ] || fail "deleted: df says $before before, $after after"
guest_umount "$M"
ok "df is right, also right after a delete"

title "the ends"
for how in umount fusermount3 TERM INT HUP; do
	true "$("$HASHFS" "$POOL/a" "$M")"  # would not come back if the daemon kept our pipe
	works "$M"
	pid=$(daemon_of "$M")
	case $how in
	umount) umount "$M" ;;
	fusermount3) fusermount3 -u "$M" ;;
	*) kill -"$how" "$pid" ;;
	esac
	ended "$pid" "$how"
	gone "$M" "$how"
	[ -z "$(ls -A "$POOL/.hash/mounts")" ] || fail "after $how its registration is still there"
	hashify_pool
	ok "$how"
done

"$HASHFS" -f "$POOL/a" "$M" &
pid=$!
until mountpoint -q "$M"; do kill -0 $pid; done
works "$M"
umount "$M"
wait $pid || fail "hashfs -f ends with status $?"
ok "-f: stays in the foreground, ends with 0"

guest_mount "$POOL/a" "$M"
exec 5<"$M/dir/f3"
refuses 'busy' umount "$M"
works "$M"
pid=$(daemon_of "$M")
umount -l "$M"
[ "$(head -c 9 <&5)" = 000000000 ] || fail "an open file cannot be read after umount -l"
kill -0 "$pid" || fail "the daemon is gone while a file is open"
exec 5<&-
ended "$pid" "the last close after umount -l"
ok "umount -l lets open files be read to the end"

mkfifo "$W/end"
guest_mount "$POOL/a" "$M"
pid=$(daemon_of "$M")
unshare --mount --propagation private sh -c 'touch "$1"; read -r _ <"$2"' sh "$W/copied" "$W/end" &
copy=$!
until [ -e "$W/copied" ]; do kill -0 $copy; done
refuses "mounted at $M .*unmount it" "$HASHIFY" "$POOL"
umount "$M"
refuses "pid $pid.* mounted at $M .*another namespace.*kill $pid" "$HASHIFY" "$POOL"
echo >"$W/end"
wait $copy
ended "$pid" "the end of the other mount namespace"
hashify_pool
ok "a copy in another mount namespace is told from a mount"

title "the limit on the size of files"
( ulimit -Sf 4; guest_mount "$POOL/a" "$M" )
echo changed >>"$M/dir/f8" || fail "a link of more than the daemon's starter may write cannot be changed"
refuses 'too large' sh -c "ulimit -f 4; trap '' XFSZ; exec head -c 9000 /dev/zero >$M/large"
works "$M"
guest_umount "$M"
grep -q changed "$POOL/a/dir/f8" || fail "the write did not arrive"
ok "is the caller's, not that of who has started the daemon"

title "cache=0, for trees that others change"
guest_mount "$POOL/a" "$M" cache=0
[ ! -e "$M/native" ] || fail "it is there before it was made"
echo one >"$POOL/a/native"
[ "$(cat "$M/native")" = one ] || fail "made natively, not seen"
echo two and more >>"$POOL/a/native"
[ "$(stat -c %s "$M/native")" = 17 ] && [ "$(tail -n 1 "$M/native")" = "two and more" ] || fail "appended natively, not seen"
mv "$POOL/a/native" "$POOL/a/native2"
[ ! -e "$M/native" ] && [ -e "$M/native2" ] || fail "renamed natively, not seen"
echo new >"$POOL/a/native3" && mv "$POOL/a/native3" "$POOL/a/native2"
[ "$(cat "$M/native2")" = new ] || fail "replaced natively, not seen"
rm "$POOL/a/native2"
[ ! -e "$M/native2" ] || fail "removed natively, still seen"
rm "$POOL/a/dir/f6" && echo private >"$POOL/a/dir/f6"
[ "$(cat "$M/dir/f6")" = private ] || fail "a link replaced natively is still the link"
exec 5<"$M/dir/f5"
ln -f "$POOL/a/dir/f7" "$POOL/a/dir/f5"
cmp "$M/dir/f5" "$POOL/a/dir/f7" || fail "a link replaced natively by another object's is still the old one"
cmp /dev/fd/5 "$POOL/b/dir/f5" || fail "who has the old one open reads something else"
exec 5<&-
echo mine >>"$M/dir/f5"
[ "$(tail -c 5 "$M/dir/f5")" = mine ] || fail "what was written to a link replaced natively is lost"
cmp "$POOL/a/dir/f7" "$POOL/b/dir/f7" || fail "the object's other names have changed"
guest_umount "$M"
ok "what others do is seen at once"

title "kill -9"
new_pool
inventory --no-marks --no-hardlinks "$POOL/b" >"$W/b"
guest_mount "$POOL/a" "$M"
"$PYTHON" - "$M" "$W/written" <<-'END' &
	import os, sys
	for i in range(1_000_000):
	    try:
	        p = "%s/new%d" % (sys.argv[1], i % 50)
	        os.link("%s/dir/f%d" % (sys.argv[1], i % 7 + 1), p)
	        with open(p, "ab") as f:
	            f.write(b"x")
	        os.unlink(p)
	        if i == 20:
	            open(sys.argv[2], "w").close()
	    except OSError:
	        break
END
writer=$!
until [ -e "$W/written" ]; do kill -0 $writer; done
exec 5<"$M/dir/f8"
pid=$(daemon_of "$M")
kill -9 "$pid"
ended "$pid" "kill -9"
wait $writer
refuses 'not connected' ls "$M"
refuses 'umount|unmount|died' "$HASHFS" "$POOL/b" "$M"
[ "$(head -c 9 <&5)" = 000000000 ] || fail "what was open in passthrough cannot be read any more"
exec 5<&-
umount -l "$M"
for i in 1 2 3 4 5 6 7 8; do
	[ "$(head -c 9000 "$POOL/a/dir/f$i" | tail -c 1)" = "$i" ] || fail "a/dir/f$i has no longer its content"
done
inventory --no-marks --no-hardlinks "$POOL/b" >"$W/b.after"
same "$W/b" "$W/b.after" "guest b has changed"
guest_mount "$POOL/a" "$M"
works "$M"
guest_umount "$M"
hashify_pool
[ -z "$(ls -A "$POOL/.hash/tmp")" ] || fail "left in tmp: $(ls -A "$POOL/.hash/tmp")"
ok "the tree is whole, mounts again, and hashify cleans up"

title "a full filesystem"
fs_new ext4 64M
head -c 20M /dev/urandom >"$W/big"
for g in a b; do
	mkdir -p "$POOL/$g"
	cp "$W/big" "$POOL/$g/big"
	chmod 640 "$POOL/$g/big"
	touch -d @1000000000 "$POOL/$g/big"
done
hashify_pool
expect_links "$POOL/a/big"
ino=$(stat -c %i "$POOL/a/big")
guest_mount "$POOL/a" "$M"
head -c 60M /dev/zero >"$M/ballast" 2>/dev/null || true
refuses 'no space' chmod 600 "$M/big"
refuses 'no space' sh -c "echo x >>$M/big"
refuses 'no space' setfattr -n user.k -v v "$M/big"
refuses 'no space' truncate -s 19M "$M/big"
cmp "$M/big" "$W/big" || fail "the file has changed"
[ "$(stat -c '%a %h %Y' "$M/big")" = "640 1 1000000000" ] || fail "its attributes have changed: $(stat "$M/big")"
[ "$(stat -c %i "$POOL/a/big")" = "$ino" ] || fail "the link was replaced"
[ -z "$(ls -A "$POOL/.hash/tmp")" ] || fail "left in tmp: $(ls -A "$POOL/.hash/tmp")"
"$PYTHON" -c 'import os, sys; os.truncate(sys.argv[1], 0)' "$M/big" || fail "truncate to nothing needs no space"
[ "$(stat -c %s "$M/big" "$POOL/b/big" | tr '\n' ' ')" = "0 20971520 " ] || fail "sizes: $(stat -c %s "$M/big" "$POOL/b/big")"
rm "$M/ballast"
guest_umount "$M"
ok "a break without space fails with ENOSPC and changes nothing"
