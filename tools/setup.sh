#!/bin/bash
# Installs what building and testing need, and puts libfuse's source where meson looks for it if the distribution's own is
# too old. May be run again at any time; does nothing where nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(gcc libc6-dev meson ninja-build pkg-config libxxhash-dev liburing-dev libnuma-dev)
test_packages=(libcmocka-dev fuse3 attr acl libacl1-dev libcap2-bin e2fsprogs xfsprogs btrfs-progs debootstrap
	valgrind clang clang-tidy clang-format cppcheck git rsync python3 util-linux procps curl ca-certificates
	debian-archive-keyring)
fuse_version=3.18.3
fuse_dir=subprojects/fuse-$fuse_version
fuse_tarball=subprojects/packagecache/fuse-$fuse_version.tar.gz

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

missing_packages() {
	local p
	for p in "$@"; do
		dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' || echo "$p"
	done
}

install_packages() {
	local missing
	mapfile -t missing < <(missing_packages "${build_packages[@]}" "${test_packages[@]}")
	[ "${#missing[@]}" -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || fail "these packages are missing, and installing them needs root: ${missing[*]}"
	say "installing ${missing[*]}"
	apt-get update -qq || say "the package lists could not be brought up to date; going on with those at hand"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
		fail "could not install ${missing[*]}; what apt-get said is above"
}

# Elsewhere we only say what to install.
check_tools() {
	local tool missing=()
	for tool in gcc meson ninja pkg-config git python3 debootstrap mkfs.ext4 mkfs.xfs mkfs.btrfs setfattr setfacl setcap \
		valgrind clang-tidy clang-format cppcheck fusermount3; do
		command -v "$tool" >/dev/null || missing+=("$tool")
	done
	pkg-config --exists libxxhash cmocka liburing numa || missing+=("the headers of xxhash, cmocka, liburing, numactl")
	[ "${#missing[@]}" = 0 ] || fail "this distribution's packages are not known here; install what brings: ${missing[*]}"
}

newest_fuse_suite() {
	# shellcheck disable=SC1091
	. /etc/os-release
	case "${ID:-}" in
	debian) echo testing ;;
	ubuntu) echo devel ;;
	*) fail "libfuse 3.17 or newer is needed; put the tarball of $fuse_version at $fuse_tarball" ;;
	esac
}

# The machine's own mirror, without touching its configuration. apt checks the signature and the sums.
fetch_fuse_from_distribution() {
	local work suite uri apt
	work=$(mktemp -d)
	suite=$(newest_fuse_suite)
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
	[ -n "$uri" ] || fail "apt knows no mirror; put the tarball of libfuse $fuse_version at $fuse_tarball"
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	echo "deb-src $uri $suite main" >"$work/sources.list"
	apt=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
	(cd "$work" && "${apt[@]}" update && "${apt[@]}" source --download-only fuse3) >/dev/null ||
		fail "neither libfuse's site nor the distribution's newest source can be reached; put libfuse $fuse_version's tarball at $fuse_tarball"
	unpack_fuse "$work"/fuse3_*.orig.tar.*[a-z2]
	rm -rf "$work"
}

# meson takes the directory as it is, whatever later version it holds.
unpack_fuse() {
	local tarball=$1 version
	case $tarball in *.asc) tarball=${tarball%.asc} ;; esac
	rm -rf "$fuse_dir"
	mkdir -p "$fuse_dir"
	tar -xf "$tarball" -C "$fuse_dir" --strip-components=1
	version=$(sed -n "s/^ *version: '\([0-9.]*\).*/\1/p" "$fuse_dir/meson.build" | head -n 1)
	dpkg --compare-versions "$version" ge 3.18 || fail "the source found is libfuse $version; 3.18 is the oldest that will do"
	say "libfuse $version will be built with the programs"
}

# The sum is in the wrap file.
fetch_fuse_from_upstream() {
	local url sum
	url=$(sed -n 's/^source_url = //p' subprojects/fuse3.wrap)
	sum=$(sed -n 's/^source_hash = //p' subprojects/fuse3.wrap)
	mkdir -p subprojects/packagecache
	if [ ! -f "$fuse_tarball" ]; then
		curl -fsSL --connect-timeout 5 --max-time 60 -o "$fuse_tarball.part" "$url" 2>/dev/null || return 1
		mv "$fuse_tarball.part" "$fuse_tarball"
	fi
	echo "$sum  $fuse_tarball" | sha256sum -c --quiet || fail "$fuse_tarball is not what it should be; remove it"
	unpack_fuse "$fuse_tarball"
}

provide_fuse() {
	if pkg-config --exists 'fuse3 >= 3.17' || [ -f "$fuse_dir/meson.build" ]; then
		return 0
	fi
	fetch_fuse_from_upstream || fetch_fuse_from_distribution
}

check_kernel() {
	[ "$(id -u)" != 0 ] || [ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
	[ -e /dev/fuse ] || say "no /dev/fuse here: programs can be built, nothing can be mounted"
}

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
	install_packages
else
	check_tools
fi
provide_fuse
check_kernel
