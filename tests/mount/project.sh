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

title "projects given to guests after a pass, on xfs"
fs_new xfs
for g in a b c; do
	mkdir -p "$POOL/$g/d"
	for i in 1 2 3; do
		printf 'hello, world\n' >"$POOL/$g/d/f$i"
		touch -d @1000000000 "$POOL/$g/d/f$i"
	done
done
hashify_pool
expect_links "$POOL"/{a,b,c}/d/f1
n=100
for g in a b c; do
	n=$((n + 1))
	chattr -R -p $n "$POOL/$g"
	chattr +P "$POOL/$g" "$POOL/$g/d"
done
for file in f1: f2:volatile; do
	guests_mount "${file#*:}" a
	printf 'more\n' >>"$M/a/d/${file%:*}" || fail "a link cannot be written to"
	guests_umount a
	[ "$(project "$POOL/a/d/${file%:*}")" = 101 ] || fail "the private copy belongs to project $(project "$POOL/a/d/${file%:*}")"
done
"$HASHIFY" unshare "$POOL/b" >"$W/said" 2>&1 || { cat "$W/said" >&2; fail "unshare"; }
for i in 1 2 3; do
	[ "$(stat -c %h "$POOL/b/d/f$i") $(project "$POOL/b/d/f$i")" = "1 102" ] || fail "unshared: $(stat -c %h "$POOL/b/d/f$i") names, project $(project "$POOL/b/d/f$i")"
done
[ "$(cat "$POOL"/a/d/f1 "$POOL"/b/d/f1 "$POOL"/c/d/f1)" = "$(printf 'hello, world\nmore\nhello, world\nhello, world')" ] || fail "contents"

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
