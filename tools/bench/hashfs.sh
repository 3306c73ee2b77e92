#!/bin/bash
# Times guests on hashfs beside ext4, overlayfs and what else runs in FUSE, or with --memory or --many measures what many take; see
# tools/bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "bench: needs root, to mount" >&2; exit 2; }
have() { for c in "$@"; do type -P "$c" >/dev/null || return 1; done; }
have mergerfs fuse-overlayfs rofiles-fuse mkfs.xfs g++ ||
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mergerfs fuse-overlayfs ostree xfsprogs btrfs-progs g++ >/dev/null
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release >/dev/null
ninja -C build-release hashify/hashify fs/hashfs
cc -O2 -std=gnu17 -Wall -Wextra -Werror -o build-release/calls tools/bench/calls.c
case "${1-}" in
--memory) exec unshare -m python3 tools/bench/memory.py --build "$PWD/build-release" "${@:2}" ;;
--many) exec unshare -m python3 tools/bench/inodes.py --build "$PWD/build-release" "${@:2}" ;;
esac

# libfuse's example of how fast a FUSE filesystem can be, and one that only answers, with the libfuse that hashfs is built with.
fuse=(build-release/subprojects/fuse-*)
peers=()
if [ -d "${fuse[0]}" ]; then
	upstream=subprojects/${fuse[0]##*/}
	with=("-I$upstream/include" "-I${fuse[0]}" "${fuse[0]}/lib/libfuse3.a" -luring -lnuma -lpthread)
	g++ -O2 -std=c++17 -w -o build-release/passthrough_hp "$upstream"/example/passthrough_hp.cc "${with[@]}" &&
		cc -O2 -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -o build-release/null tools/bench/null.c "${with[@]}" &&
		peers=(--hp "$PWD/build-release/passthrough_hp" --null "$PWD/build-release/null")
fi
exec unshare -m python3 tools/bench/hashfs.py --build "$PWD/build-release" "${peers[@]}" "$@"
