#!/usr/bin/env bash
# Guests that are btrfs subvolumes, and subvolumes in a guest: their inode numbers are those of other files, but not to who goes by them.
DEFAULT_TIMEOUT=60
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need btrfs tar find

M=$W/m
fs_new btrfs
mkdir "$POOL/c"
for d in a b c/nested; do
	btrfs -q subvolume create "$POOL/$d"
	mkdir "$POOL/$d/dir"
	echo "content of $d" >"$POOL/$d/f"
	ln "$POOL/$d/f" "$POOL/$d/f2"
	echo "content of $d/dir" >"$POOL/$d/dir/f"
	ln "$POOL/$d/dir/f" "$POOL/$d/dir/f2"
done
[ "$(stat -c %i "$POOL/a/f")" = "$(stat -c %i "$POOL/b/f")" ] || fail "subvolumes with numbers of their own: this proves nothing"
hashify_pool
"$HASHIFY" --json "$POOL" | grep -q '"guests": 3, "guests_elsewhere": 2' || fail "it is not counted that two guests are subvolumes"
"$HASHIFY" "$POOL" | grep -q '2  guests share nothing' || fail "it is not said that two guests share nothing"

# whole MOUNTED NATIVE PAIRS: no two files have one number that are not one file, readdir says what stat says, and a copy is a copy.
whole() {
	local twice restored=$W/restored
	find "$1" >/dev/null 2>"$W/said" || { cat "$W/said" >&2; fail "find"; }
	twice=$(find "$1" ! -type f -printf '%i\n' -o -links 1 -printf '%i\n' -o -name '*2' -printf '%i\n' | sort | uniq -d)
	[ -z "$twice" ] || fail "several files have one inode number: $twice"
	"$PYTHON" - "$1" <<-'END' || fail "readdir and stat differ"
		import os, subprocess, sys
		top = os.path.realpath(sys.argv[1])
		for d, _, _ in os.walk(top):
		    # The first listing comes with look-ups, and one of a directory that has been looked up does not.
		    for _ in range(2):
		        out = subprocess.run(["ls", "-fia", d], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
		        for number, name in zip(out[0::2], out[1::2]):
		            path = d + "/" + name
		            if (d, name) != (top, "..") and int(number) != os.lstat(path).st_ino:
		                sys.exit("listed with another number: " + path)
		        open(d + "/.new", "w").close()
		        os.unlink(d + "/.new")
	END
	rm -rf "$restored"
	mkdir "$restored"
	tar -C "$1" -cf - . | tar -C "$restored" -xf -
	diff -r --exclude=.hash "$2" "$restored" || fail "what tar has restored is not what there was"
	[ "$(find "$restored" -name f2 -links 2 | wc -l)" = "$3" ] || fail "tar has not kept the hard links"
}

title "a pool of subvolumes"
guest_mount "$POOL" "$M"
whole "$M" "$POOL" 6
guest_umount "$M"
say "ok    a copy of the pool has each guest's content"

title "a subvolume in a guest"
guest_mount "$POOL/c" "$M"
whole "$M" "$POOL/c" 2
before=$(stat -c %i "$M/nested/f")
echo more >>"$M/nested/f"
drop_caches
[ "$(stat -c %i "$M/nested/f") $(stat -c %i "$M/nested/f2")" = "$before $before" ] || fail "numbers have changed"
[ "$(tail -n 1 "$M/nested/f2")" = more ] || fail "two names of one file are two"
guest_umount "$M"
say "ok    a copy of the guest has its content"

title "a guest that is a subvolume"
guest_mount "$POOL/a" "$M"
whole "$M" "$POOL/a" 2
[ "$(stat -c %i "$M" "$M/dir/f")" = "$(stat -c %i "$POOL/a" "$POOL/a/dir/f")" ] || fail "numbers are not the native ones"
guest_umount "$M"
say "ok    numbers are the native ones"
