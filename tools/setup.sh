#!/bin/bash
# Installs what building and testing need, and puts libfuse's source where meson looks for it if the distribution's own is
# too old. May be run again at any time; does nothing where nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(gcc libc6-dev meson ninja-build pkg-config libxxhash-dev libsqlite3-dev libmount-dev liburing-dev libnuma-dev scdoc)
test_packages=(libcmocka-dev fuse3 attr acl libacl1-dev libcap2-bin e2fsprogs xfsprogs btrfs-progs debootstrap
	valgrind clang libclang-rt-dev clang-tidy clang-format cppcheck git rsync python3 util-linux procps curl ca-certificates
	debian-archive-keyring fio stress-ng)
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
	local patience=(-o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 -o Acquire::Retries=2 -o DPkg::Lock::Timeout=120)
	apt-get update -qq "${patience[@]}" || say "the package lists could not be brought up to date; going on with those at hand"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${patience[@]}" --no-install-recommends "${missing[@]}" >/dev/null ||
		fail "could not install ${missing[*]}; what apt-get said is above"
}

# Elsewhere we only say what to install.
check_tools() {
	local tool missing=()
	for tool in gcc meson ninja pkg-config git python3 debootstrap mkfs.ext4 mkfs.xfs mkfs.btrfs setfattr setfacl setcap \
		valgrind clang clang-tidy clang-format cppcheck fusermount3; do
		command -v "$tool" >/dev/null || missing+=("$tool")
	done
	pkg-config --exists libxxhash sqlite3 mount cmocka liburing numa || missing+=("the headers of xxhash, SQLite, libmount, cmocka, liburing, numactl")
	[ "${#missing[@]}" = 0 ] || fail "this distribution's packages are not known here; install what brings: ${missing[*]}"
}

wrap_field() { sed -n "s/^$1 = //p" subprojects/fuse3.wrap; }

is_upstreams() { echo "$(wrap_field source_hash)  $1" | sha256sum -c --status; }

# The sum is in the wrap file. What is at $fuse_tarball already, by hand or from the last time, is taken first.
fetch_fuse_from_upstream() {
	local url
	mkdir -p "${fuse_tarball%/*}"
	if [ ! -f "$fuse_tarball" ]; then
		url=$(wrap_field source_url)
		if ! curl -fsSL --connect-timeout 5 --max-time 60 -o "$fuse_tarball.part" "$url" 2>/dev/null; then
			rm -f "$fuse_tarball.part"
			say "libfuse's own site cannot be reached; taking the newest source package of the distribution"
			return 1
		fi
		mv "$fuse_tarball.part" "$fuse_tarball"
	fi
	is_upstreams "$fuse_tarball" || fail "$fuse_tarball has not the sum that subprojects/fuse3.wrap names; remove it and try again"
	unpack_fuse "$fuse_tarball"
}

# fuse_mirror ORIGIN NAME: the mirror this machine is set to for its own distribution. Before the first `apt-get update`
# apt knows no origin, and only the address tells.
fuse_mirror() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)' 'Created-By: Packages' | awk -F '|' -v origin="$1" -v name="$2" '
		$2 ~ /security/ { next }
		($1 == origin || ($1 == "" && $2 ~ "/" name "/?$")) && uri == "" { uri = $2 }
		END { print uri }'
}

# The machine's own configuration of apt is not touched. apt checks the signature of the suite and the sum of the file.
fetch_fuse_from_distribution() {
	local work suite uri keyring apt tarball by_hand="put libfuse $fuse_version's release tarball at $fuse_tarball"
	# shellcheck disable=SC1091
	. /etc/os-release
	case "${ID:-}" in
	debian) suite=testing uri=$(fuse_mirror Debian debian) ;;
	ubuntu) suite=devel uri=$(fuse_mirror Ubuntu ubuntu) ;;
	*) fail "no newer libfuse is known for this distribution; $by_hand" ;;
	esac
	[ -n "$uri" ] || fail "apt has no mirror of ${ID:-}; $by_hand"
	keyring=/usr/share/keyrings/$ID-archive-keyring.gpg
	[ -r "$keyring" ] && keyring="[signed-by=$keyring] " || keyring=

	work=$(mktemp -d)
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	echo "deb-src $keyring$uri $suite main" >"$work/sources.list"
	apt=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root
		-o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 -o Acquire::Retries=2
		-o Acquire::AllowInsecureRepositories=false -o APT::Get::AllowUnauthenticated=false)
	(cd "$work" && "${apt[@]}" update && "${apt[@]}" source --download-only fuse3) >/dev/null ||
		fail "the mirror has no source package of libfuse in $suite, or cannot be reached; $by_hand"

	tarball=$(find "$work" -maxdepth 1 -name 'fuse3_*.orig.tar.*' ! -name '*.asc')
	[ -f "$tarball" ] || fail "the source package of libfuse in $suite holds no tarball that is known here; $by_hand"
	if is_upstreams "$tarball"; then
		cp "$tarball" "$fuse_tarball"
	fi
	unpack_fuse "$tarball"
}

# meson takes the directory as it is, whatever later version it holds. It appears whole or not at all.
unpack_fuse() {
	local new=$fuse_dir.new version
	rm -rf "$new" "$fuse_dir"
	mkdir -p "$new"
	tar -xf "$1" -C "$new" --strip-components=1 --no-same-owner
	version=$(sed -n "s/^ *version: '\([0-9.]*\).*/\1/p;T;q" "$new/meson.build")
	printf '3.18\n%s\n' "$version" | sort -CV || fail "the source found is libfuse '$version'; 3.18 is the oldest that will do"
	mv "$new" "$fuse_dir"
	say "libfuse $version will be built with the programs"
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
	printf '6.9\n%s\n' "$(uname -r)" | sort -CV ||
		say "Linux $(uname -r) has no FUSE passthrough (6.9 has): guests will share disk, not memory"
}

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
	install_packages
else
	check_tools
fi
provide_fuse
check_kernel
