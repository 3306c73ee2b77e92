#!/bin/bash
# Three Debian guests share one copy of their files, on disk and in memory, while one of them is changed and the
# others are not. Every number printed was measured in this run. Leaves nothing but the
# packages and build/ behind.
#
#	sudo tools/demo.sh [--fs ext4|xfs|btrfs]
set -Eeuo pipefail
cd "$(dirname "$0")/.."

fs=ext4
while [ $# -gt 0 ]; do
	case $1 in
	--fs) fs=${2:?--fs needs ext4, xfs or btrfs}; shift 2 ;;
	*) sed -n '2,5p' "$0"; exit 2 ;;
	esac
done
[ "$(id -u)" = 0 ] || { echo "demo: run it as root: it makes filesystems and mounts them" >&2; exit 1; }

guests=(web1 web2 web3)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/hashfs-demo.XXXXXX")
pool=$work/vservers
root=$work/srv
log=$work/log
loop=''
failed=0

bold='' dim='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi
step() { printf '\n%s%s%s %s(%d:%02d)%s\n' "$bold" "$*" "$plain" "$dim" $((SECONDS / 60)) $((SECONDS % 60)) "$plain"; }
note() { printf '  %s\n' "$*"; }
mib() { awk -v b="$1" 'BEGIN { printf "%.0f MiB", b / 1048576 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
promise() { # promise WORDS COMMAND...: a promise that does not hold fails the demo
	local words=$1
	shift
	if "$@"; then
		note "yes: $words"
	else
		note "${bold}NO: $words${plain}"
		failed=1
	fi
}

# shellcheck disable=SC2317
clean_up() {
	local status=$?
	trap - EXIT INT TERM
	kill "${sleepers[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	local m
	while m=$(awk -v w="$work/" 'index($2, w) == 1 { print $2 }' /proc/self/mounts | tail -n 1) && [ -n "$m" ]; do
		umount "$m" 2>/dev/null || umount -l "$m"
	done
	# The filesystem is free when the last hashfs has ended.
	while pgrep -f "hashfs .*$work/" >/dev/null; do sleep 0.1; done
	[ -z "$loop" ] || losetup -d "$loop"
	rm -rf "$work"
	exit "$status"
}
sleepers=()
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'echo "demo: line $LINENO failed: $BASH_COMMAND" >&2; tail -n 20 "$log" 2>/dev/null >&2 || true' ERR

# The pool and its guests

make_filesystem() {
	mkdir -p "$pool" "$root"
	truncate -s 8G "$work/image"
	"mkfs.$fs" -q "$work/image" >>"$log" 2>&1
	# Direct, or the image's own pages would be counted with the guests'.
	loop=$(losetup --find --show --direct-io=on "$work/image")
	mount "$loop" "$pool"
}

mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n 1; }

# Each is bootstrapped on its own, as somebody would who never thought of sharing. Only the download is done once.
bootstrap_guests() {
	local g uri suite
	# shellcheck disable=SC1091
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
	uri=$(mirror)
	[ -n "$uri" ] || return 1
	debootstrap --variant=minbase --make-tarball="$work/packages.tar" "$suite" "$work/packages" "$uri" >>"$log" 2>&1 || return 1
	rm -rf "$work/packages"
	for g in "${guests[@]}"; do
		debootstrap --variant=minbase --unpack-tarball="$work/packages.tar" "$suite" "$pool/$g" "$uri" >>"$log" 2>&1 || return 1
		chroot "$pool/$g" apt-get clean
		rm -rf "$pool/$g"/var/lib/apt/lists/*
		note "$g: $(find "$pool/$g" -xdev | wc -l) names, $(mib "$(disk_use "$pool/$g")")"
	done
	rm -f "$work/packages.tar"
}

copy_guests() {
	local g
	note "no Debian mirror can be reached: the guests are made of parts of this machine's /usr"
	for g in "${guests[@]}"; do
		rm -rf "${pool:?}/$g"
		mkdir -p "$pool/$g/usr" "$pool/$g/etc"
		cp -a /usr/bin /usr/lib /usr/lib64 "$pool/$g/usr/" 2>/dev/null || true
		cp -a /etc/passwd /etc/group /etc/os-release /etc/ld.so.cache "$pool/$g/etc/"
		ln -s usr/bin "$pool/$g/bin"
		ln -s usr/lib "$pool/$g/lib"
		ln -s usr/lib64 "$pool/$g/lib64"
		note "$g: $(find "$pool/$g" -xdev | wc -l) names, $(mib "$(disk_use "$pool/$g")")"
	done
}

# Measuring

# What is still to be written has no place on disk yet.
disk_use() {
	sync
	du -s --block-size=1 "$@" | awk '{ s += $1 } END { print s }'
}

directories_use() { find "$1" -xdev -type d -printf '%b\n' | awk '{ s += $1 } END { print s * 512 }'; }

cached() { awk '$1 == "Cached:" { print $2 * 1024 }' /proc/meminfo; }

# read_cache DIR...: bytes of page cache that reading all files below takes, from none. Whatever else runs on the
# machine can only add to it: the least of three.
read_cache() {
	local before grown least='' i
	for i in 1 2 3; do
		sync
		echo 3 >/proc/sys/vm/drop_caches
		before=$(cached)
		find "$@" -xdev -type f -print0 | xargs -0 cat >/dev/null
		grown=$(($(cached) - before))
		[ -n "$least" ] && [ "$least" -le "$grown" ] || least=$grown
	done
	echo "$least"
}

inventory() { python3 tests/support/inventory.py --no-hardlinks --no-marks "$1"; }

# Bytes that programs have in memory from files: each alone (Rss), and what of it is really theirs (Pss).
mapped() {
	local field=$1 p
	for p in "${sleepers[@]}"; do cat "/proc/$p/smaps"; done |
		awk -v f="$field:" '/^[0-9a-f]+-/ { file = $6 ~ /^\// } $1 == f && file { s += $2 } END { print s * 1024 }'
}

# What happens in a guest

start_programs() {
	local g
	for g in "${guests[@]}"; do
		chroot "$root/$g" /bin/sleep 600 &
		sleepers+=($!)
	done
	for p in "${sleepers[@]}"; do
		until [ "$(readlink "/proc/$p/exe" | sed 's/.*\///')" = sleep ]; do sleep 0.05; done
	done
}

install_package() {
	local m=$root/web2
	cp /etc/resolv.conf "$m/etc/resolv.conf" 2>/dev/null || true
	cp /etc/apt/apt.conf.d/*proxy* "$m/etc/apt/apt.conf.d/" 2>/dev/null || true
	printf '#!/bin/sh\nexit 101\n' >"$m/usr/sbin/policy-rc.d"
	chmod 755 "$m/usr/sbin/policy-rc.d"
	mount -t proc proc "$m/proc"
	chroot "$m" apt-get update >>"$log" 2>&1 &&
		DEBIAN_FRONTEND=noninteractive chroot "$m" apt-get install -y --no-install-recommends less >>"$log" 2>&1 &&
		chroot "$m" dpkg --verify less >>"$log" 2>&1
	local r=$?
	umount "$m/proc"
	return $r
}

change_guest() {
	local m=$root/web2
	if [ -n "$have_apt" ]; then
		promise "web2 installed the package less, by its own apt-get" install_package
	fi
	echo "changed in web2 alone" >>"$m/etc/os-release"
	sed -i 's/root/ROOT/' "$m/etc/group"
	chmod 700 "$m/usr/bin/env"
	truncate -s 0 "$m/usr/bin/tee"
	note "web2 appended to os-release, edited group, changed env's mode and emptied tee"
}

# The demonstration

step "Building"
tools/setup.sh
[ -f build/build.ninja ] || meson setup build >"$log" 2>&1
ninja -C build >>"$log" 2>&1
hashify=$PWD/build/hashify/hashify
hashfs=$PWD/build/fs/hashfs

step "Three guests on $fs"
make_filesystem
have_apt=yes
if ! bootstrap_guests; then
	have_apt=
	copy_guests
fi
for g in "${guests[@]}"; do inventory "$pool/$g" >"$work/$g.first"; done
one_disk=$(disk_use "$pool/web1")
before_disk=$(disk_use "$pool")

step "Reading all their files"
one_ram=$(read_cache "$pool/web1")
before_ram=$(read_cache "$pool"/web?)
note "one guest: $(mib "$one_ram") of page cache; three: $(mib "$before_ram")"

step "hashify $pool"
"$hashify" "$pool" | sed 's/^/  /'
after_disk=$(disk_use "$pool")
after_dirs=$(directories_use "$pool")

step "Mounting each with hashfs"
for g in "${guests[@]}"; do
	mkdir -p "$root/$g"
	"$hashfs" "$pool/$g" "$root/$g"
	note "$pool/$g on $root/$g"
	inventory "$root/$g" >"$work/$g.mounted"
done
for g in "${guests[@]}"; do
	promise "$g is what it was: content, mode, owner, times, xattrs" cmp -s "$work/$g.first" "$work/$g.mounted"
done

step "Reading all files again, through the three mounts"
after_ram=$(read_cache "$root"/web?)
note "three guests: $(mib "$after_ram") of page cache"

step "A program in each guest"
start_programs
note "$(chroot "$root/web1" /bin/cat /etc/os-release | head -n 1)"
rss=$(mapped Rss) pss=$(mapped Pss)
note "file pages mapped by three sleeps: $(mib "$rss") if each had its own, $(mib "$pss") in truth, shared with all"

step "Changing web2 through its mount"
change_guest
for g in web1 web3; do
	inventory "$root/$g" >"$work/$g.after"
	promise "$g has not changed" cmp -s "$work/$g.first" "$work/$g.after"
done

step "Unmounting, and a second pass"
kill "${sleepers[@]}" && wait "${sleepers[@]}" 2>/dev/null || true
sleepers=()
for g in "${guests[@]}"; do umount "$root/$g"; done
while pgrep -f "hashfs .*$work/" >/dev/null; do sleep 0.1; done
"$hashify" "$pool" | sed 's/^/  /'
"$hashify" stat "$pool" | sed 's/^/  /'

step "Result, on $fs"
printf '  %-34s %12s %12s %12s\n' "" "one guest" "three, plain" "three, shared"
printf '  %-34s %12s %12s %12s\n' "disk (du)" "$(mib "$one_disk")" "$(mib "$before_disk")" "$(mib "$after_disk")"
printf '  %-34s %12s %12s %12s\n' "page cache, all files read" "$(mib "$one_ram")" "$(mib "$before_ram")" "$(mib "$after_ram")"
note "$(mib "$after_dirs") of the shared disk are directories, which nothing can share"
note "shared takes $(ratio "$after_disk" "$one_disk") × the disk and $(ratio "$after_ram" "$one_ram") × the memory of one guest"
is_little() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= 1.15 * b) }'; }
promise "three guests take hardly more memory than one" is_little "$after_ram" "$one_ram"
exit $failed
