#!/usr/bin/env bash
# A user without root mounts a guest of his own pool: no passthrough, said in one line, but links break as they must.
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need fusermount3 getfattr
[ -u "$(command -v fusermount3)" ] || missing "fusermount3 is not set-uid"

# He needs a name, /dev/fuse, and programs that he may run; all this is seen in our namespace alone.
UID_=1500
echo "tester:x:$UID_:$UID_::/:/bin/sh" | cat /etc/passwd - >"$W/passwd"
mount --bind "$W/passwd" /etc/passwd
mknod -m 666 "$W/fuse" c 10 229
mount --bind "$W/fuse" /dev/fuse
mkdir "$W/bin" "$W/m" "$W/m2"
install -m 755 "$HASHFS" "$HASHIFY" "$W/bin"
HASHFS=$W/bin/hashfs HASHIFY=$W/bin/hashify
chown $UID_:$UID_ "$W/m" "$W/m2"
as_user=(setpriv --reuid $UID_ --regid $UID_ --clear-groups --)
SUITE=$TEST_SUPPORT
cp -r "$SUITE" "$TEST_DIR/unprivileged.py" "$W/bin"
chmod -R a+rX "$W/bin"
export PYTHONPATH=$W/bin/$(basename "$SUITE")

fs_new ext4
chown -R $UID_:$UID_ "$POOL"
"${as_user[@]}" "$PYTHON" "$W/bin/unprivileged.py" seed "$POOL"
"${as_user[@]}" "$HASHIFY" "$POOL" >"$W/said" 2>&1 || { cat "$W/said" >&2; fail "hashify as a user"; }
is_link "$POOL/a/file" || fail "nothing was linked: $(cat "$W/said")"
getfattr -m - "$POOL/a/file" 2>/dev/null | grep -q user.hashfs.object || fail "the mark is not in user."

"${as_user[@]}" "$HASHFS" "$POOL/a" "$W/m" >"$W/said" 2>&1 || { cat "$W/said" >&2; fail "hashfs as a user"; }
mounts_of_test fuse.hashfs | grep -qxF "$W/m" || fail "not mounted"
[ "$(wc -l <"$W/said")" = 1 ] || { cat "$W/said" >&2; fail "expected one line that says what is missing"; }
say "      $(sed "s#$W/##g" "$W/said")"

inventory --no-hardlinks "$POOL/b" >"$W/b"
store_inventory >"$W/store"
r=0
"${as_user[@]}" "$PYTHON" "$W/bin/unprivileged.py" run "$POOL" "$W/m" || r=1
inventory --no-hardlinks "$POOL/b" >"$W/b.after"
store_inventory >"$W/store.after"
same "$W/b" "$W/b.after" "guest b has changed"
same "$W/store" "$W/store.after" "an object has changed"

refuses "$W/m" "${as_user[@]}" "$HASHIFY" "$POOL"
refuses 'passthrough' "${as_user[@]}" "$HASHFS" -o passthrough=yes "$POOL/b" "$W/m2"
pid=$(daemon_of "$W/m") || fail "no daemon"
"${as_user[@]}" fusermount3 -u "$W/m" || fail "fusermount3 -u"
wait_gone "$pid" || fail "the daemon goes on after fusermount3 -u"

# At the limit of descriptors it fails cleanly: an error for a file, not an end of the mount.
"${as_user[@]}" sh -c 'ulimit -n 256 && exec "$@"' sh "$HASHFS" "$POOL/many" "$W/m" >"$W/said" 2>&1 || { cat "$W/said" >&2; fail "hashfs"; }
"${as_user[@]}" "$PYTHON" "$W/bin/unprivileged.py" limit "$POOL/many" "$W/m" || fail "at the limit of descriptors"
"${as_user[@]}" find "$W/m" -type f -size +0 >"$W/found" 2>"$W/said" || grep -qi 'too many open files' "$W/said" || { tail -n 3 "$W/said" >&2; fail "find"; }
sync; echo 2 >/proc/sys/vm/drop_caches
"${as_user[@]}" sh -c "echo more >>$W/m/d1/f1" || fail "the mount does not work after the limit was reached"
grep -q more "$POOL/many/d1/f1" || fail "the write did not arrive"
"${as_user[@]}" fusermount3 -u "$W/m"
say "ok    at the limit of descriptors ($(wc -l <"$W/found") of 600 files were found)"

# Nor may he lift a limit on the size of files: an error for a file, too.
"${as_user[@]}" bash -c 'ulimit -f 4 && exec "$@"' bash "$HASHFS" "$POOL/b" "$W/m" >"$W/said" 2>&1 || { cat "$W/said" >&2; fail "hashfs"; }
refuses 'too large' "${as_user[@]}" bash -c "echo more >>$W/m/dir/held"
"${as_user[@]}" bash -c "echo more >>$W/m/program" || fail "the mount does not work after the limit was reached"
"${as_user[@]}" fusermount3 -u "$W/m"
say "ok    at the limit on the size of files"

"${as_user[@]}" "$HASHIFY" "$POOL" >"$W/said" 2>&1 || { cat "$W/said" >&2; fail "the next pass"; }
exit $r
