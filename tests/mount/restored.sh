#!/usr/bin/env bash
# Files, or all of a pool, came back from a backup that keeps hard links and loses marks: guests are kept apart all the same.
DEFAULT_TIMEOUT=120
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need tar cp ln chattr getfattr

M=$W/m
content() { printf '%09000d' "$1"; }

# Two files that three guests share.
given_pool() {
	local g n
	fs_new "$1"
	for g in a b c; do
		mkdir -p "$POOL/$g"
		for n in 1 2; do
			content $n >"$POOL/$g/f$n"
			touch -d @1000000000 "$POOL/$g/f$n"
		done
	done
	hashify_pool
	sleep 0.3  # what has just changed is not noted
	hashify_pool
	[ -s "$POOL/.hash/marked" ] || fail "it is not noted that all objects have their marks"
	expect_links "$POOL"/{a,b,c}/f1
	expect_links "$POOL"/{a,b,c}/f2
}

# The object of f1 is put there again, and all its names with it, as by rsync -aH.
restore_f1() {
	local object
	object=$(find "$POOL/.hash/objects" -samefile "$POOL/a/f1")
	cp --preserve=mode,ownership,timestamps "$object" "$object.new"
	mv "$object.new" "$object"
	for g in a b c; do ln -f "$object" "$POOL/$g/f1"; done
	is_link "$POOL/a/f1" && fail "the restored object has a mark: this proves nothing"
	[ "$(stat -c %h "$POOL/a/f1")" = 4 ] || fail "the restored object has $(stat -c %h "$POOL/a/f1") names, not 4"
}

expect_apart() {
	guest_mount "$POOL/a" "$M"
	echo written >"$M/f1"
	echo more >>"$M/f2"
	guest_umount "$M"
	for g in b c; do
		for n in 1 2; do
			cmp "$POOL/$g/f$n" <(content $n) || fail "CHANGED ANOTHER GUEST: $g/f$n"
		done
	done
	[ "$(cat "$POOL/a/f1")" = written ] || fail "a/f1 is not what was written"
}

for kind in $(filesystems ext4 xfs btrfs); do
	title "$kind: an object is restored without its mark, and a guest is mounted"
	given_pool "$kind"
	restore_f1
	expect_apart
	grep -q '1 objects had lost' "$W/hashfs.log" || fail "hashfs has not said it: $(cat "$W/hashfs.log")"
	guest_mount "$POOL/b" "$M"
	! grep -q 'had lost' "$W/hashfs.log" || fail "it is said again: $(cat "$W/hashfs.log")"
	guest_umount "$M"

	title "$kind: and a pass comes first"
	given_pool "$kind"
	restore_f1
	cp -a "$POOL/c/f1" "$POOL/c/f3"
	hashify_pool
	grep -q '1 object.s mark was lost' "$W/hashify.log" || fail "hashify has not said it"
	expect_links "$POOL"/{a,b,c}/f1 "$POOL/c/f3"
	expect_apart
	"$HASHIFY" verify "$POOL" || fail "verify: status $?"

	title "$kind: a pool is restored without its store"
	given_pool "$kind"
	ln "$POOL/c/f1" "$POOL/c/f1.same"  # which makes no link of it: c has what the others have
	content 3 >"$POOL/a/own"
	ln "$POOL/a/own" "$POOL/a/own.too"
	tar -C "$POOL" --exclude=.hash -cf "$W/backup.tar" .
	rm -r "$POOL"/{a,b,c,.hash}
	tar -C "$POOL" -xf "$W/backup.tar"
	[ "$POOL/a/f1" -ef "$POOL/b/f1" ] || fail "the restored guests have no files in common: this proves nothing"
	mkdir -p "$POOL/a/var/log"
	content 4 >"$POOL/a/log"
	ln "$POOL/a/log" "$POOL/a/var/log/log"  # where no pass looks
	content 5 >"$POOL/a/still"
	ln "$POOL/a/still" "$POOL/b/still"
	chattr +i "$POOL/a/still"
	"$HASHIFY" "$POOL" >"$W/hashify.log" 2>&1 && fail "a hard link that cannot be marked is no error"
	chattr -i "$POOL/a/still"
	grep -q '[ab]/still: several guests' "$W/hashify.log" || fail "what cannot be marked is not named: $(cat "$W/hashify.log")"
	grep -q '2 files are hard links between guests' "$W/hashify.log" || fail "hashify has not said it"
	hashify_pool
	grep -q '1 file is a hard link between guests' "$W/hashify.log" || fail "hashify has not said it"
	"$HASHIFY" --json "$POOL" | grep -q '"hard_links_marked": 0' || fail "they are marked again"
	! is_link "$POOL/a/log" || fail "a file that has a name where no pass looks is marked"
	! is_link "$POOL/a/own" || fail "a file that is one guest's alone is marked"
	expect_apart
	guest_mount "$POOL/a" "$M"
	echo more >>"$M/own"
	cmp "$M/own" "$M/own.too" || fail "a guest's own two names are not one file any more"
	guest_umount "$M"

	title "$kind: one guest has it open still, and the other's name is the last"
	ino=$(stat -c %i "$POOL/b/still")
	guest_mount "$POOL/a" "$M"
	exec 5<"$M/still"
	rm "$M/still"
	[ "$(stat -c %h "$POOL/b/still")" = 2 ] || fail "the store has no name of it"
	mkdir -p "$W/m2"
	guest_mount "$POOL/b" "$W/m2"
	echo changed >"$W/m2/still"
	cmp - <(content 5) <&5 || fail "CHANGED ANOTHER GUEST through its open file"
	exec 5<&-
	[ "$(cat "$W/m2/still")" = changed ] || fail "b/still is not what was written"
	guest_umount "$W/m2"
	guest_umount "$M"
	[ -e "$POOL/.hash/held/$ino" ] || fail "it is not held"
	"$HASHIFY" gc "$POOL" >"$W/gc.log" || fail "gc: status $?"
	[ ! -e "$POOL/.hash/held/$ino" ] || fail "gc holds what nobody has: $(cat "$W/gc.log")"

	title "$kind: and a copy of the pool holds its own files"
	copied=$FS/copied
	cp -a "$POOL" "$copied"
	"$HASHIFY" "$copied" >"$W/hashify.log" 2>&1 || fail "a pass over the copy: $(cat "$W/hashify.log")"
	"$HASHIFY" gc "$copied" >"$W/gc.log" || fail "gc of the copy: $(cat "$W/gc.log")"
	[ -n "$(ls "$copied/.hash/held")" ] || fail "nothing is held in the copy: this proves nothing"
	for f in "$copied"/.hash/held/*; do
		[ "${f##*/}" = "$(stat -c %i "$f")" ] || fail "$f has the number $(stat -c %i "$f")"
	done
done
say "ok    guests are kept apart"
