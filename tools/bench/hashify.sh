#!/bin/bash
# Times hashify beside jdupes, rdfind and hardlink, and beside what cannot be beaten; see tools/bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "bench: needs root, for loop devices and to drop caches" >&2; exit 2; }
command -v jdupes rdfind hardlink mkfs.xfs >/dev/null ||
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq jdupes rdfind util-linux-extra xfsprogs >/dev/null 2>&1 ||
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq jdupes rdfind util-linux xfsprogs >/dev/null
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release >/dev/null
ninja -C build-release hashify/hashify >/dev/null
cc -O2 -D_GNU_SOURCE -Wall -Werror -pthread -o build-release/floor tools/bench/floor.c
exec unshare -m python3 tools/bench/hashify.py --hashify build-release/hashify/hashify --floor build-release/floor "$@"
