#!/bin/bash
# Times hashify beside jdupes, rdfind and hardlink, and beside what cannot be beaten; see tools/bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "bench: needs root, for loop devices and to drop caches" >&2; exit 2; }
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq jdupes rdfind xfsprogs time "$@" >/dev/null; }
have() { for c in "$@"; do type -P "$c" >/dev/null || return 1; done; }
have jdupes rdfind hardlink mkfs.xfs time || install util-linux-extra 2>/dev/null || install util-linux  # they moved hardlink
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release >/dev/null
ninja -C build-release hashify/hashify
cc -O2 -D_GNU_SOURCE -Wall -Werror -pthread -o build-release/floor tools/bench/floor.c
exec unshare -m python3 tools/bench/hashify.py --hashify "$PWD/build-release/hashify/hashify" --floor "$PWD/build-release/floor" "$@"
