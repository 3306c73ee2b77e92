#!/usr/bin/env bash
# Three real Debians, each bootstrapped on its own: linked, they take the disk and the memory of one; each shows what it held; and what is done
# inside one through its mount changes no other.
#
# Their packages come from this machine's mirror, once; they and the guests stay in HASHFS_TEST_CACHE (/var/cache/hashfs-tests).
DEFAULT_TIMEOUT=1500
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need debootstrap tar git setfacl setfattr chroot

suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
cache=${HASHFS_TEST_CACHE:-/var/cache/hashfs-tests}/$suite
packages="tcc libc6-dev"
tar_all=(tar --format=posix --numeric-owner --xattrs --xattrs-include='*' --acls -S)

# ---- the guests, made once ----

# Installs from this machine's mirror, by way of its own proxy and resolver, into cached lists and archives.
download_packages() {
	local root=$1
	apt-config dump | grep -E '^Acquire::[a-z]+::Proxy' >"$root/etc/apt/apt.conf.d/proxy" || true
	cp -L /etc/resolv.conf "$root/etc/resolv.conf"
	echo "deb $2 $suite main" >"$root/etc/apt/sources.list"
	chroot "$root" apt-get -q update &&
		chroot "$root" apt-get -qy --no-install-recommends install -d $packages
}

make_guests() {
	local mirror g work=$W/work
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $suite" 2>/dev/null | grep -v security | head -n 1)
	mirror=${mirror:-http://deb.debian.org/debian}
	mkdir -p "$cache" "$work"
	say "      bootstrapping three guests from $mirror, once"
	debootstrap --variant=minbase --make-tarball="$work/packages.tar" "$suite" "$work/packages" "$mirror" >"$W/log" 2>&1 ||
		{ tail -n 5 "$W/log" >&2; missing "no Debian mirror can be reached"; }
	for g in a b c; do
		debootstrap --variant=minbase --unpack-tarball="$work/packages.tar" "$suite" "$work/$g" "$mirror" >"$W/log" 2>&1 ||
			{ tail -n 20 "$W/log" >&2; fail "debootstrap"; }
		chroot "$work/$g" apt-get clean
		rm -rf "$work/$g"/var/lib/apt/lists/*
		"${tar_all[@]}" -C "$work/$g" -cf "$cache/$g.tar.new" .
	done
	download_packages "$work/c" "$mirror" >"$W/log" 2>&1 || { tail -n 20 "$W/log" >&2; missing "no Debian mirror can be reached"; }
	"${tar_all[@]}" -C "$work/c" -cf "$cache/packages.tar" etc/apt/sources.list var/lib/apt/lists var/cache/apt/archives
	for g in a b c; do mv "$cache/$g.tar.new" "$cache/$g.tar"; done
	rm -rf "$work"
}

cached_guests() {
	mkdir -p "$cache"
	exec 8>"$cache/lock"
	flock 8
	[ -e "$cache/a.tar" ] && [ -e "$cache/b.tar" ] && [ -e "$cache/c.tar" ] || make_guests
	exec 8>&-
}

# The same repository in every guest, as a deployment would have it.
make_repository() {
	local r=$W/repository
	[ -d "$r" ] || (
		export HOME=$W
		git init -q "$r" && cd "$r" || exit 1
		git config user.email test@example.org
		git config user.name test
		for i in $(seq 40); do seq "$i" $((i + 900)) >"file$i"; done
		git add . && git commit -qm one && seq 5000 >file1 && git commit -qam two && git gc -q
		find . -exec touch -h -d @1000000000 {} +
	) >&2
}

# ---- comparing ----

strip_hardlinks() { sed 's/ nlink:[0-9]* same-as:.*$//' "$1"; }

others_quickly() { for g in b c; do inventory --no-hardlinks --no-content "$POOL/$g"; done; }
others_fully() { for g in b c; do inventory --no-hardlinks "$POOL/$g"; done; }

disk_use() { sync -f "$POOL"; du -s -B1 "$@" | awk '{s += $1} END {print s}'; }
# Directories, and on btrfs symbolic links, have blocks of their own in each guest.
directories_use() { find "$@" '(' -type d -o -type l ')' -printf '%b\n' | awk '{s += $1 * 512} END {print s + 0}'; }

# ---- inside a guest ----

in_guest() { HOME=/root DEBIAN_FRONTEND=noninteractive chroot "$M/a" "$@" </dev/null; }

act() {
	local what=$1
	shift
	"$@" >"$W/log" 2>&1 || { tail -n 30 "$W/log" >&2; fail "$what (status $?)"; }
	if full; then
		others_fully >"$W/others.now"
		same "$W/others" "$W/others.now" "$what has changed another guest"
	else
		others_quickly >"$W/others.now"
		same "$W/others.quick" "$W/others.now" "$what has changed another guest"
	fi
	say "ok    $what"
}

install_package() {
	tar -C "$M/a" -xf "$cache/packages.tar" &&
		in_guest apt-get -qy --no-install-recommends install $packages
}
verify() {
	in_guest dpkg --verify >"$W/verify.a" || true  # it fails where files are missing, as in a minimal guest
	HOME=/root chroot "$POOL/b" dpkg --verify >"$W/verify.b" || true
	diff "$W/verify.b" "$W/verify.a"
}
compile() {
	printf '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n' >"$M/a/root/hello.c"
	in_guest tcc -o /root/hello /root/hello.c && [ "$(in_guest /root/hello)" = compiled ]
}
clone() (
	# Every step must be told to stop: what act runs, runs without set -e.
	export HOME=$W GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
	git clone -q "$M/a/srv/repository" "$M/a/srv/clone" && cd "$M/a/srv/clone" || exit 1
	git config user.email test@example.org && git config user.name test && echo more >>file2 &&
		git commit -qam three && git fsck --full && git gc -q && git push -q origin HEAD:other &&
		[ -z "$(git status --porcelain)" ] && cd ../repository && git fsck --full && [ -z "$(git status --porcelain)" ]
)
edit() {
	in_guest sed -i 's/the/THE/g' /usr/share/common-licenses/GPL-3 /etc/login.defs &&
		grep -q THE "$M/a/usr/share/common-licenses/GPL-3"
}
shorten() { in_guest truncate -s 100 /usr/share/common-licenses/GPL-2 && [ "$(stat -c %s "$M/a/usr/share/common-licenses/GPL-2")" = 100 ]; }
modes() { in_guest chmod -R o-r /usr/share/doc && ! find "$M/a/usr/share/doc" -type f -perm /o+r | grep -q .; }
owners() { in_guest chown -R 33:33 /usr/share/perl5 /usr/lib/apt && ! find "$M/a/usr/share/perl5" "$M/a/usr/lib/apt" ! -user 33 | grep -q .; }
times() { in_guest sh -c 'touch /usr/bin/*' && in_guest true; }
xattrs() {
	find "$M/a/usr/share/base-files" -type f -exec setfattr -n user.test -v 1 {} + &&
		getfattr -n user.test "$M/a/usr/share/base-files/motd"
}
acls() { setfacl -R -m u:1234:rX "$M/a/usr/share/debconf" && getfacl -n "$M/a/usr/share/debconf/confmodule" | grep -q user:1234; }
links() {
	in_guest sh -c 'ln /usr/bin/ls /usr/bin/ls2 && ln -f /usr/bin/cat /usr/bin/tac && ln -s ls /usr/bin/ls3 && cp -al /usr/share/dpkg /usr/share/dpkg2' &&
		[ "$M/a/usr/bin/ls" -ef "$M/a/usr/bin/ls2" ] && [ "$(stat -c %h "$M/a/usr/bin/ls")" = 2 ]
}
moves() {
	in_guest sh -c 'mv /usr/share/dpkg2 /usr/share/dpkg3 && mv /usr/share/dpkg3/sh /usr/share/dpkg4 && mv -f /usr/bin/expr /usr/bin/factor' &&
		[ ! -e "$M/a/usr/bin/expr" ] && ! in_guest expr 1 + 1
}
map() {
	"$PYTHON" - "$M/a/usr/share/common-licenses/Artistic" <<-'END'
		import mmap, sys
		with open(sys.argv[1], "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
		    m[0:6] = b"MAPPED"
		assert open(sys.argv[1], "rb").read(6) == b"MAPPED"
	END
}
append() { in_guest sh -c 'echo "# appended" >>/etc/bash.bashrc && tail -n 1 /etc/bash.bashrc | grep -q appended'; }
remove() { in_guest dpkg --purge tcc && in_guest dpkg --audit; }

# ---- the test ----

check() {
	local g one dirs all
	title "$1"
	fs_new "$1" 6G
	for g in a b c; do
		mkdir "$POOL/$g"
		"${tar_all[@]}" -C "$POOL/$g" -xpf "$cache/$g.tar"
		rm -f "$POOL/$g"/var/cache/debconf/*-old "$POOL/$g"/var/lib/dpkg/*-old  # as builders of images do
		mkdir -p "$POOL/$g/srv"
		cp -a "$W/repository" "$POOL/$g/srv/"
		inventory "$POOL/$g" >"$W/before.$g"
		strip_hardlinks "$W/before.$g" >"$W/before.plain.$g"
	done
	one=$(disk_use "$POOL/a")

	hashify_pool
	all=$(disk_use "$POOL")
	dirs=$(directories_use "$POOL")
	say "      disk: one guest $((one >> 20)) MiB, the pool of three $((all >> 20)) MiB, $((dirs >> 20)) MiB of that directories and symbolic links"
	[ $((all - dirs)) -le $((one * 11 / 10)) ] || fail "the pool takes $all bytes, $dirs of them directories and symbolic links; one guest $one"
	for g in a b c; do
		inventory --no-marks --no-hardlinks "$POOL/$g" >"$W/after.$g"
		same "$W/before.plain.$g" "$W/after.$g" "hashify has changed guest $g"
	done
	say "ok    every path of every guest has its content, mode, owner, times and xattrs"

	guests_mount "" a b c
	for g in a b c; do
		inventory "$M/$g" >"$W/mounted.$g"
		same "$W/before.$g" "$W/mounted.$g" "guest $g shows something else through its mount"
	done
	say "ok    and shows them through its mount, its own hard links, too"
	"$PYTHON" "$TEST_DIR/guest_memory.py" "$POOL" "$M" a b c

	store_inventory >"$W/store"
	others_quickly >"$W/others.quick"
	others_fully >"$W/others"
	mount -t proc proc "$M/a/proc"
	act "dpkg --verify" verify
	act "apt-get install $packages" install_package
	act "a C compile" compile
	act "git clone" clone
	act "sed -i" edit
	act "truncate" shorten
	act "chmod -R" modes
	act "chown -R" owners
	act "touch" times
	act "setfattr" xattrs
	act "setfacl" acls
	act "ln" links
	act "mv" moves
	act "an mmap writer" map
	act "an append by >>" append
	act "dpkg --purge" remove
	umount "$M/a/proc"
	others_fully >"$W/others.now"
	same "$W/others" "$W/others.now" "another guest has changed"
	for g in b c; do
		inventory "$M/$g" >"$W/mounted.$g.now"
		same "$W/mounted.$g" "$W/mounted.$g.now" "guest $g has changed, seen through its mount"
	done
	store_inventory >"$W/store.now"
	same "$W/store" "$W/store.now" "an object has changed"
	inventory "$M/a" >"$W/mounted.a"
	guests_umount a b c
	say "ok    the other guests are bit-identical, natively and through their mounts"

	chmod -R o+r "$POOL/a/usr/share/doc"
	! is_link "$POOL/a/usr/share/doc/bash/copyright" || fail "chmod -R has left a link: this proves nothing"
	for g in a b c; do
		inventory --no-marks --no-hardlinks "$POOL/$g" >"$W/before.$g"
	done
	hashify_pool
	find "$POOL/b/usr/share/doc" -type f -links +1 -printf '%P\n' >"$W/shared"
	[ "$(wc -l <"$W/shared")" -gt 100 ] || fail "guest b shares $(wc -l <"$W/shared") documents: this proves nothing"
	while read -r f; do
		[ "$POOL/a/usr/share/doc/$f" -ef "$POOL/b/usr/share/doc/$f" ] || fail "$f is identical again, and was not linked again"
	done <"$W/shared"
	for g in a b c; do
		inventory --no-marks --no-hardlinks "$POOL/$g" >"$W/after.$g"
		same "$W/before.$g" "$W/after.$g" "the second hashify has changed guest $g"
	done
	guest_mount "$POOL/a" "$M/a"
	inventory --no-hardlinks "$M/a" >"$W/mounted.a.now"
	# Hard links of the guest's own are what it made of them: cp -al and ln.
	[ "$M/a/usr/bin/ls" -ef "$M/a/usr/bin/ls2" ] || fail "hashify has torn the guest's own hard link"
	same "$W/after.a" "$W/mounted.a.now" "guest a shows something else through its mount"
	guest_umount "$M/a"
	say "ok    a second hashify links again what became identical again, and changes nothing else"
}

cached_guests
make_repository
for fs in $(filesystems ext4); do
	check "$fs"
done
