# Sourced first by every tests/mount/*.sh: a sandbox, a pool on a filesystem of its own, mounts of its guests.
#
# The script runs again inside its own mount and pid namespace. When it ends, in whatever way, the kernel ends its daemons
# and takes its mounts and loop devices away; the outer shell deletes its directory $W.
#
#   HASHIFY, HASHFS   the programs                          TEST_SCALE    short (default) or full
#   TEST_TIMEOUT      seconds; a script sets its own default TEST_ONLY     run only cases with this in their name
#   HASHFS_REQUIRE_MOUNT=1   what is missing is a failure, not a skip
#   TEST_MOUNT_OPTS   added to the options of every mount

set -Eeuo pipefail

TEST_SUPPORT=$(cd "${TEST_SUPPORT:-$(dirname "${BASH_SOURCE[0]}")}" && pwd)
TEST_DIR=$(cd "$(dirname "$0")" && pwd)
TEST_NAME=$(basename "$0" .sh)
TEST_SCALE=${TEST_SCALE:-short}
PYTHON=python3
[ ! -x /usr/bin/python3 ] || PYTHON=/usr/bin/python3  # not a wrapper somebody has put before it
export TEST_SUPPORT TEST_SCALE PYTHON PYTHONPATH=$TEST_SUPPORT PYTHONDONTWRITEBYTECODE=1
export LC_ALL=C.UTF-8 TZ=UTC
export PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }
title() { printf -- '-- %s\n' "$*"; }
fail() { printf 'FAIL  %s\n' "$*" >&2; exit 1; }

# What this test cannot do without is not here.
missing() {
	printf '%s: skipped: %s\n' "$TEST_NAME" "$*" >&2
	[ -z "${HASHFS_REQUIRE_MOUNT:-}" ] || exit 1
	exit 77
}
need() {
	local c
	for c in "$@"; do
		command -v "$c" >/dev/null || missing "the program $c is missing"
	done
}

full() { [ "$TEST_SCALE" = full ]; }

# All filesystems in the full form, else those given.
filesystems() {
	if full; then echo ext4 xfs btrfs; else echo "${@:-ext4}"; fi
}

# ---- the sandbox ----

# The directories of test runs that were killed: nobody holds their lock any more.
sandbox_sweep() {
	local d
	for d in "$1"/hashfs-test.*; do
		[ -f "$d/lock" ] || continue
		( flock -n 9 && rm -rf --one-file-system "$d" ) 9<"$d/lock" || true
	done
}

sandbox_enter() {
	[ "$(id -u)" = 0 ] || missing "mount tests need root"
	need unshare setpriv timeout flock losetup "$PYTHON"
	[ -c /dev/fuse ] || missing "/dev/fuse is missing (modprobe fuse)"
	[ -x "${HASHFS:?the path of hashfs}" ] || missing "$HASHFS is not built"
	[ -x "${HASHIFY:?the path of hashify}" ] || missing "$HASHIFY is not built"

	local tmp=${TMPDIR:-/var/tmp} limit=${TEST_TIMEOUT:-${DEFAULT_TIMEOUT:-300}} child r=0
	sandbox_sweep "$tmp"
	W=$(mktemp -d "$tmp/hashfs-test.XXXXXX")
	chmod 755 "$W"
	exec 9>"$W/lock.new"
	flock 9
	mv "$W/lock.new" "$W/lock"  # before, another test would take it for a killed one's
	HASHFS=$(realpath "$HASHFS") HASHIFY=$(realpath "$HASHIFY")
	export W HASHFS HASHIFY IN_SANDBOX=1

	# Each is killed with its parent, so nothing outlives this shell.
	setpriv --pdeathsig KILL -- timeout -k 10 "$limit" \
		setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child --mount-proc --propagation private -- \
		bash "$0" "$@" 9>&- &
	child=$!
	trap 'kill -TERM $child 2>/dev/null || true' TERM INT HUP
	wait "$child" || r=$?
	while kill -0 "$child" 2>/dev/null; do  # a signal ended wait, not the child
		r=0
		wait "$child" || r=$?
	done
	[ "$r" != 124 ] && [ "$r" != 137 ] || printf 'FAIL  %s: the time limit of %s s is over\n' "$TEST_NAME" "$limit" >&2
	rm -rf --one-file-system "$W"
	exit "$r"
}

[ -n "${IN_SANDBOX:-}" ] || sandbox_enter "$@"
unset IN_SANDBOX

ulimit -c 0
mkdir -m 1777 "$W/sanitizer"  # daemons of other users write there, too
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$W/sanitizer/log"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}log_path=$W/sanitizer/log:print_stacktrace=1"
export TSAN_OPTIONS="${TSAN_OPTIONS:+$TSAN_OPTIONS:}log_path=$W/sanitizer/log"

# The mount points of this test whose type fits a pattern, the last first.
mounts_of_test() { awk -v w="$W/" -v t="$1" 'index($2, w) == 1 && $3 ~ t {print $2}' /proc/self/mounts | tac; }

# Prints what the sanitizers of the daemons found, if anything.
sanitizers_silent() {
	local f r=0
	for f in "$W"/sanitizer/*; do
		[ -s "$f" ] || continue
		cat "$f" >&2
		r=1
	done
	return $r
}

# What to run at the end, whatever it is.
at_exit=()

sandbox_leave() {
	local r=$? m c
	trap - EXIT ERR
	set +e
	for c in "${at_exit[@]}"; do eval "$c"; done
	for m in $(mounts_of_test '.'); do
		umount "$m" 2>/dev/null || umount -l "$m"
	done
	sanitizers_silent || r=1
	exit $r
}
trap sandbox_leave EXIT
trap 'exit 143' TERM INT HUP
trap 'printf "FAIL  %s line %s: %s\n" "$TEST_NAME" "$LINENO" "$BASH_COMMAND" >&2' ERR

# ---- filesystems and pools ----

# Makes an empty filesystem of its own and mounts it: sets FS, and POOL and NATIVE, two directories in it.
# fs_new ext4|xfs|btrfs|tmpfs [SIZE [MKFS_ARGUMENT…]]
fs_new() {
	local kind=$1 size=${2:-512M} image=$W/image.$1
	shift; shift || true
	FS=$W/fs
	fs_drop
	mkdir -p "$FS"
	if [ "$kind" = tmpfs ]; then
		mount -t tmpfs -o "size=$size,mode=755" tmpfs "$FS"
	else
		need "mkfs.$kind"
		grep -qw "$kind" /proc/filesystems || modprobe "$kind" 2>/dev/null || missing "the kernel has no $kind"
		rm -f "$image"
		truncate -s "$size" "$image"
		"mkfs.$kind" -q "$@" "$image" >"$W/mkfs.log" 2>&1 || { cat "$W/mkfs.log" >&2; fail "mkfs.$kind"; }
		fs_mount "$kind"
	fi
	POOL=$FS/pool NATIVE=$FS/native
	mkdir -p "$POOL" "$NATIVE"
	FS_KIND=$kind
	export FS POOL NATIVE FS_KIND
}

fs_mount() {
	mount -o loop "$W/image.$1" "$W/fs"
	# Else what is read is cached twice.
	losetup --direct-io=on "$(findmnt -nro SOURCE "$W/fs")" 2>/dev/null || true
}

# Unmounts what fs_new made, with all mounts of its guests.
fs_drop() {
	local m
	for m in $(mounts_of_test '^fuse'); do
		guest_umount "$m"
	done
	! mountpoint -q "$W/fs" || umount "$W/fs"
	rm -f "$W"/image.*
}

hashify_pool() {
	if ! "$HASHIFY" "$@" "$POOL" >"$W/hashify.log" 2>&1; then
		cat "$W/hashify.log" >&2
		fail "hashify $* $POOL"
	fi
}

# The pid of the daemon that serves MOUNTPOINT.
daemon_of() {
	local p
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/exe")" = "$HASHFS" ] || continue
		if tr '\0' '\n' <"$p/cmdline" | grep -qxF -e "$1"; then
			echo "${p#/proc/}"
			return 0
		fi
	done 2>/dev/null
	return 1
}

# Waits until a process has ended, at most SECONDS.
wait_gone() {
	"$PYTHON" - "$1" "${2:-10}" <<-'END'
		import os, select, sys
		try:
		    fd = os.pidfd_open(int(sys.argv[1]))
		except ProcessLookupError:
		    sys.exit(0)
		sys.exit(not select.select([fd], [], [], float(sys.argv[2]))[0])
	END
}

# guest_mount SOURCE MOUNTPOINT [OPTIONS]
guest_mount() {
	local opts=${3:-}${TEST_MOUNT_OPTS:+,$TEST_MOUNT_OPTS}
	mkdir -p "$2"
	if ! "$HASHFS" ${opts:+-o "${opts#,}"} "$1" "$2" >"$W/hashfs.log" 2>&1; then
		cat "$W/hashfs.log" >&2
		fail "hashfs ${opts:+-o "${opts#,}"} $1 $2"
	fi
	mountpoint -q "$2" || fail "hashfs $1 $2 came back before the mount was there"
}

guest_umount() {
	local pid
	pid=$(daemon_of "$1") || pid=
	umount "$1" || fail "umount $1: $(fuser -vm "$1" 2>&1 || true)"
	[ -z "$pid" ] || wait_gone "$pid" 20 || fail "the daemon of $1 (pid $pid) is still there 20 s after umount"
	sanitizers_silent
}

# Mounts each guest GUEST at $W/m/GUEST: sets M. guests_mount OPTIONS GUEST…
guests_mount() {
	local opts=$1 g
	shift
	M=$W/m
	export M
	for g in "$@"; do
		guest_mount "$POOL/$g" "$M/$g" "$opts"
	done
}
guests_umount() {
	local g
	for g in "$@"; do
		guest_umount "$W/m/$g"
	done
}

# on_guests PROGRAM FILESYSTEM [OPTIONS [MODE]]: runs the cases of PROGRAM, a file beside the script, in guests a, b and c of a new
# pool: PROGRAM seed POOL; hashify; all three mounted; PROGRAM run POOL MOUNTS MODE; no object may have changed.
on_guests() {
	local r=0
	title "$2${3:+ with -o $3}"
	fs_new "$2" "${FS_SIZE:-512M}"
	"$PYTHON" "$TEST_DIR/$1" seed "$POOL" || fail "$1 seed"
	hashify_pool
	store_inventory >"$W/store"
	guests_mount "${3:-}" a b c
	# Here, because the ERR trap must not fire before the rest has run.
	if ! "$PYTHON" "$TEST_DIR/$1" run "$POOL" "$M" "${4:-passthrough}"; then r=1; fi
	guests_umount a b c
	store_inventory >"$W/store.after"
	same "$W/store" "$W/store.after" "an object has changed"
	return $r
}

# ---- looking ----

inventory() { "$PYTHON" "$TEST_SUPPORT/inventory.py" "$@" || fail "inventory $*"; }

# same BEFORE AFTER WHAT: two inventories.
same() {
	diff -u "$1" "$2" >"$W/diff" || { head -n 40 "$W/diff" >&2; fail "$3"; }
}

# The objects themselves: bytes and attributes, without link counts, which are references.
store_inventory() { inventory --no-hardlinks "$POOL/.hash/objects"; }

# Is the file a hard link to an object, natively?
is_link() { [ "$(stat -c %h "$1")" -gt 1 ] && getfattr -h -m '^(trusted|user)\.hashfs\.object$' "$1" 2>/dev/null | grep -q hashfs; }
expect_links() {
	local f
	for f in "$@"; do
		is_link "$f" || fail "$f is not a link of an object"
	done
}

drop_caches() { sync; echo 3 >/proc/sys/vm/drop_caches; }

# refuses PATTERN COMMAND…: it fails, within seconds, by an exit status (no signal) and says a sentence that fits the pattern.
refuses() {
	local pattern=$1 r=0
	shift
	timeout -k 1 20 "$@" >"$W/said" 2>&1 </dev/null || r=$?
	[ "$r" != 0 ] || fail "succeeded: $*"
	[ "$r" -lt 124 ] || { cat "$W/said" >&2; fail "status $r: $*"; }
	grep -qiE -e "$pattern" "$W/said" || { cat "$W/said" >&2; fail "does not say /$pattern/: $*"; }
	say "ok    refused ($r): $(head -n 1 "$W/said" | sed "s#$W/##g")"
}
