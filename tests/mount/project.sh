#!/usr/bin/env bash
# What chattr has given a file, its private copy has as well: a project that directories hand down (quotas per guest; links are made within
# the project), and how btrfs stores it.
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

title "not copied on write, and not compressed, on btrfs"
fs_new btrfs
for flag in C m; do
	for g in a b; do
		mkdir -p "$POOL/$g"
		: >"$POOL/$g/$flag"
		chattr +$flag "$POOL/$g/$flag"
		{ head -c 300000 "$HASHFS"; echo $flag; } >"$POOL/$g/$flag"
		touch -d @1000000000 "$POOL/$g/$flag"
	done
done
hashify_pool
expect_links "$POOL"/{a,b}/C
expect_links "$POOL"/{a,b}/m
guests_mount '' a
for flag in C m; do
	echo more >>"$M/a/$flag"
	cmp "$M/a/$flag" <(cat "$POOL/b/$flag"; echo more) || fail "not what was written"
done
guests_umount a
for flag in C m; do
	lsattr "$POOL/a/$flag" | cut -d' ' -f1 | grep -q $flag || fail "the private copy has lost $flag: $(lsattr "$POOL/a/$flag")"
done
