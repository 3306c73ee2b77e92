# Sourced first by every tests/cli/*.sh: the sandbox and filesystems of mount.sh, and how a test of hashify runs on each.
#
#   HASHIFY   the program      TEST_SCALE   short (default) or full      TEST_ONLY   run only cases with this in their name

: "${HASHIFY:?the path of hashify}"
: "${HASHFS:=$HASHIFY}"  # most of these tests mount nothing
export HASHFS
# shellcheck source=tests/support/mount.sh
. "$(dirname "${BASH_SOURCE[0]}")/mount.sh"

# Builds what preloaded() in cli.py preloads.
build_faults() {
	need cc
	cc -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -shared -fPIC -O1 -I "$TEST_DIR/../.." -o "$W/fault.so" "$TEST_DIR/fault.c" "$TEST_DIR/no_ring.c"
	export FAULT_SO=$W/fault.so
}

# on_each PROGRAM FILESYSTEM…: runs PROGRAM, a file beside the script, on an empty filesystem of each KIND (FS KIND its arguments); all are run even if one fails.
on_each() {
	local program=$1 kind r=0
	shift
	for kind in "$@"; do
		title "$kind"
		fs_new "$kind" "${FS_SIZE:-1G}"
		# A process substitution would hide the status; the ERR trap must not fire before all have run.
		if ! "$PYTHON" "$TEST_DIR/$program" "$FS" "$kind"; then r=1; fi
	done
	return $r
}
