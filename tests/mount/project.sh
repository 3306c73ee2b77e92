#!/usr/bin/env bash
# A guest whose directories hand a project down (quotas per guest): links are made within the project, and their private
# copies belong to it.
DEFAULT_TIMEOUT=60
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need chattr lsattr

title "projects on xfs"
fs_new xfs
for guest in a:100 b:200; do
	dir=$POOL/${guest%:*}
	mkdir "$dir"
	chattr -p "${guest#*:}" "$dir" && chattr +P "$dir" || missing "chattr without projects (e2fsprogs 1.43)"
	for i in 1 2; do
		printf 'hello, world\n' >"$dir/f$i"
		touch -d @1000000000 "$dir/f$i"
	done
done
project() { lsattr -p "$1" | awk '{print $1}'; }

hashify_pool
[ "$POOL/a/f1" -ef "$POOL/a/f2" ] || fail "no link within a project"
[ ! "$POOL/a/f1" -ef "$POOL/b/f1" ] || fail "a link across projects"

guests_mount '' a
echo more >>"$M/a/f1"
[ "$(cat "$M/a/f1")" = "$(printf 'hello, world\nmore')" ] || fail "the write was lost"
[ "$(cat "$M/a/f2")" = "hello, world" ] || fail "the other name has changed"
guests_umount a
[ "$(project "$POOL/a/f1")" = 100 ] || fail "the private copy belongs to project $(project "$POOL/a/f1")"
