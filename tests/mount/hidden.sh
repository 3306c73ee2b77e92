#!/usr/bin/env bash
# The store cannot be seen, reached or made through a mount of the whole pool; nor can the marks of objects.
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need getfattr

for fs in $(filesystems ext4); do
	title "$fs"
	fs_new "$fs"
	"$PYTHON" "$TEST_DIR/hidden.py" seed "$POOL"
	hashify_pool
	expect_links "$POOL"/{a,b}/{f,g}
	store_inventory >"$W/store"
	inventory --no-hardlinks "$POOL/b" >"$W/b"
	guest_mount "$POOL" "$W/m"
	r=0
	"$PYTHON" "$TEST_DIR/hidden.py" run "$POOL" "$W/m" || r=1
	guest_umount "$W/m"
	store_inventory >"$W/store.after"
	inventory --no-hardlinks "$POOL/b" >"$W/b.after"
	same "$W/store" "$W/store.after" "the store has changed"
	same "$W/b" "$W/b.after" "guest b has changed"
	[ "$(ls -A "$POOL")" = "$(printf '.hash\na\nb')" ] || fail "the pool holds $(ls -A "$POOL" | tr '\n' ' ')"
	[ $r = 0 ]
done
