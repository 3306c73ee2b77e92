#!/usr/bin/env bash
# What an ordinary user may not do natively he may not do by hashfs either: to rights, to append-only files, to the others' requests.
DEFAULT_TIMEOUT=300
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need chattr setpriv

bad=0
on_guests rights.py ext4 "" passthrough || bad=1
on_guests rights.py ext4 passthrough=no daemon || bad=1
on_guests rights.py xfs "" passthrough || bad=1
on_guests rights.py xfs coherent daemon || bad=1
on_guests rights.py btrfs "" passthrough || bad=1

# A user with more files open than the daemon may have descriptors gets an error; others are served.
refused() { # refused PATH NAME: what is opened, and a new file of others
	rm -f "$W/held"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$PYTHON" "$TEST_DIR/rights.py" hold "$1" 500 ENFILE >"$W/held" &
	holder=$!
	until [ -s "$W/held" ]; do sleep 0.05; done
	[ "$(cat "$W/held")" = "refused" ] || { bad=1; say "FAIL  $1: $(cat "$W/held")"; }
	echo more >"$W/m/$2" || { bad=1; say "FAIL  $1: others are not served"; }
	[ "$(cat "$W/m/$2")" = more ] || { bad=1; say "FAIL  $1: others do not read"; }
	kill "$holder"
	wait "$holder" 2>/dev/null || true
}

title "-o coherent, at most 400 descriptors"
fs_new ext4
mkdir -p "$POOL/a" "$POOL/b" "$W/m"
chmod 1777 "$POOL/a"
for g in a b; do
	echo content >"$POOL/$g/f"
	echo other >"$POOL/$g/g"
	touch -d @1000000000 "$POOL/$g/f" "$POOL/$g/g"
done
hashify_pool
( ulimit -n 400; guest_mount "$POOL/a" "$W/m" coherent )
refused "$W/m/f" new
refused "$W/m" newer
exit $bad
