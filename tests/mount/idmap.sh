#!/usr/bin/env bash
# Guests whose ids are shifted, each by another number, share the files that belong to one root on disk.
DEFAULT_TIMEOUT=120
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need setfacl setcap getcap

bad=0
M=$W/m

seed() {
	local g
	for g in a b c; do
		"$PYTHON" "$TEST_DIR/idmap.py" seed "$POOL/$g"
	done
	hashify_pool
	expect_links "$POOL"/{a,b,c}/{root,user,rich}/f1
}

# check FILESYSTEM OPTIONS [none]
check() {
	title "$1${2:+ with -o $2}"
	fs_new "$1"
	seed
	for g in a b; do
		inventory --no-hardlinks "$POOL/$g" >"$W/$g"
	done
	store_inventory >"$W/store"
	mkdir -p "$M/a" "$M/b"
	guest_mount "$POOL/a" "$M/a" "idmap=b:0:100000:65536${2:+,$2}"
	guest_mount "$POOL/b" "$M/b" "idmap=b:0:200000:65536${2:+,$2}"
	"$PYTHON" "$TEST_DIR/idmap.py" run "$POOL" "$M" 100000 200000 "${3:-passthrough}" || bad=1
	guests_umount a b
	inventory --no-hardlinks "$POOL/b" >"$W/b.after"
	same "$W/b" "$W/b.after" "guest b has changed"
	store_inventory >"$W/store.after"
	same "$W/store" "$W/store.after" "an object has changed"
	"$PYTHON" "$TEST_DIR/idmap.py" check "$POOL" || bad=1
	[ -z "$(ls -A "$POOL/.hash/tmp")" ] || fail "left in tmp: $(ls -A "$POOL/.hash/tmp")"
}

for fs in $(filesystems ext4 xfs btrfs); do
	check "$fs" ""
done
check tmpfs ""
check ext4 passthrough=no none

title "what is no map, and whose maps are taken"
fs_new ext4
seed
mkdir -p "$M/a"
for map in "" 0:100000:65536 x:0:100000:10 b:0:100000 b:0:100000:65536x "b:0:100000:65536 nonsense" "b:0:100000:10 b:5:200000:10" /nowhere /etc/passwd; do
	if "$HASHFS" -o "idmap=$map" "$POOL/a" "$M/a" 2>"$W/said"; then fail "it mounts with idmap=$map"; fi
	[ -s "$W/said" ] || fail "idmap=$map: nothing is said"
done
if "$HASHFS" -o idmap=b:1:100001:65535 "$POOL/a" "$M/a" 2>"$W/said"; then fail "it mounts without an id for the store"; fi
grep -q "does not show the owner" "$W/said" || fail "the store's owner has no id: $(cat "$W/said")"
"$PYTHON" "$TEST_DIR/idmap.py" sleep 300000 &
sleeper=$!
until [ "$(tr -s ' ' <"/proc/$sleeper/uid_map")" = " 0 300000 65536" ]; do kill -0 $sleeper; done
guest_mount "$POOL/a" "$M/a" "idmap=/proc/$sleeper/ns/user"
kill $sleeper
[ "$(stat -c %u:%g "$M/a/user/f1")" = 301000:301001 ] || fail "a namespace's ids: $(stat -c %u:%g "$M/a/user/f1")"
guest_umount "$M/a"
guest_mount "$POOL/a" "$M/a" "idmap=u:0:100000:65536 g:0:500000:65536"
[ "$(stat -c %u:%g "$M/a/user/f1")" = 101000:501001 ] || fail "users and groups: $(stat -c %u:%g "$M/a/user/f1")"
guest_umount "$M/a"
say "ok    ranges of users and groups, and namespaces"
exit $bad
