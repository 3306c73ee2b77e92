# Sourced first by every tests/cli/*.sh: the sandbox and filesystems of mount.sh, and how a test of hashify runs on each.
#
#   HASHIFY   the program      TEST_SCALE   short (default) or full      TEST_ONLY   run only cases with this in their name

: "${HASHIFY:?the path of hashify}"
: "${HASHFS:=$HASHIFY}"  # most of these tests mount nothing
export HASHFS
# shellcheck source=tests/support/mount.sh
. "$(dirname "${BASH_SOURCE[0]}")/mount.sh"

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
