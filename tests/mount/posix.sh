#!/usr/bin/env bash
# What programs expect of any filesystem, checked natively and through a mount: whoever makes a file owns it, open files outlive their
# names, directories may change while they are read, locks lock.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need cc

bad=0
cc -o "$W/sleeper" -x c - <<-'END' || fail "cc"
	#include <unistd.h>
	int main(int argc, char **argv) { char c; return argc > 1 ? 7 : write(1, "!", 1) < 0 || read(0, &c, 1) < 0; }
END

# check FILESYSTEM OPTIONS
check() {
	title "$1${2:+ with -o $2}"
	fs_new "$1" 700M
	for g in a b; do
		mkdir -p "$POOL/$g/links"
		install -m 4755 "$W/sleeper" "$POOL/$g/links/program"
		for f in file busy elsewhere twin1 twin2; do cp "$W/sleeper" "$POOL/$g/links/$f"; done
		touch -d @1000000000 "$POOL/$g/links/"*
	done
	hashify_pool
	expect_links "$POOL/a/links/program"
	mkdir -p "$NATIVE"/{work,links}
	cp -p "$POOL/a/links/"* "$NATIVE/links"
	if [ -z "$2" ]; then
		"$PYTHON" "$TEST_DIR/posix.py" "$NATIVE" "natively: " | grep -v '^ok' || true
	fi
	inventory --no-hardlinks "$POOL/b" >"$W/b"
	guests_mount "$2" a b
	mkdir -p "$M/a/work"
	# Guest b runs the very object that guest a writes to.
	exec 6> >("$M/b/links/elsewhere" >/dev/null)
	"$PYTHON" "$TEST_DIR/posix.py" "$M/a" || bad=1
	exec 6>&-
	guests_umount a b
	inventory --no-hardlinks "$POOL/b" >"$W/b.after"
	same "$W/b" "$W/b.after" "guest b has changed"
}

for fs in $(filesystems ext4 xfs btrfs); do
	check "$fs" ""
done
check tmpfs ""
check ext4 passthrough=no
check ext4 coherent
exit $bad
