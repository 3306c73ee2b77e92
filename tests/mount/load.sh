#!/usr/bin/env bash
# Heavy load on a guest while others break links of the same objects: fio, which knows what each block must hold, and
# stress-ng's filesystem stressors. No error, no leak, nothing that hangs; objects and an idle guest stay as they are.
DEFAULT_TIMEOUT=2400
. "${TEST_SUPPORT:-$(dirname "$0")/../support}/mount.sh"
need fio stress-ng

seconds=8
! full || seconds=600
size=16m jobs=2

# What ASan keeps of freed memory is no leak.
export ASAN_OPTIONS=$ASAN_OPTIONS:quarantine_size_mb=8

resident() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }

seed() {
	"$PYTHON" "$TEST_DIR/load.py" seed "$POOL" 4000
	# fio's own files are links as well: its first write to each breaks one.
	local g
	for g in a b c idle; do
		mkdir "$POOL/$g/fio" "$POOL/$g/stress"
		for engine in psync mmap libaio; do
			for job in $(seq 0 $((jobs - 1))); do
				head -c $((16 << 20)) /dev/zero | tr '\0' 'x' >"$POOL/$g/fio/$engine.$job.0"
				touch -d @1000000000 "$POOL/$g/fio/$engine.$job.0"
			done
		done
	done
	hashify_pool
	expect_links "$POOL"/{a,b,c,idle}/fio/mmap.0.0 "$POOL"/{a,idle}/shared/f0
}

# What is written is read again and compared, block by block, after each round.
run_fio() {
	local engine direct pids=()
	for engine in psync mmap libaio; do
		direct=0
		[ "$engine" != libaio ] || direct=1
		fio --name="$engine" --directory="$M/a/fio" --size=$size --numjobs=$jobs --ioengine="$engine" --direct=$direct \
			--rw=randwrite --bsrange=4k-64k --verify=crc32c --verify_fatal=1 --verify_state_save=0 --verify_backlog=64 --loops=1000000 \
			--time_based --runtime="$1" --group_reporting >"$W/fio.$engine" 2>&1 &
		pids+=($!)
	done
	for engine in psync mmap libaio; do
		wait "${pids[0]}" || { cat "$W/fio.$engine" >&2; fail "fio $engine"; }
		pids=("${pids[@]:1}")
		grep -q 'err= 0' "$W/fio.$engine" || { cat "$W/fio.$engine" >&2; fail "fio $engine says nothing of its errors"; }
		say "      fio $engine: $(grep -o 'write: .*' "$W/fio.$engine" | head -n 1)"
	done
}

# All of the class, one after the other, each for its share of the time.
run_stress() {
	local stressors each r=0
	# What is not there natively either, or takes the whole machine: cgroup, swap, quota and mount tables, forks without end.
	stressors=$(stress-ng --class filesystem? 2>&1 | sed -n 's/.*stressors: //p' | tr ' ' '\n' |
		grep -vxE 'bind-mount|binderfs|quota|ramfs|swap|umount|fiemap|verity|chroot|procfs|sysfs' || true)
	each=$(($1 / $(wc -w <<<"$stressors")))
	[ "$each" -ge 1 ] || each=1
	for s in $stressors; do
		stress-ng --temp-path "$M/a/stress" "--$s" 2 --timeout "$each" --verify --oomable >"$W/stress.log" 2>&1 || r=$?
		# 3: not supported here; 4: no resources
		case $r in
		0 | 3 | 4) ;;
		*) cat "$W/stress.log" >&2; fail "stress-ng --$s ended with $r" ;;
		esac
		r=0
	done
	say "      stress-ng: $(wc -w <<<"$stressors") stressors, $each s each"
}

# check FILESYSTEM
check() {
	title "$1, $seconds s each"
	fs_new "$1" 3G
	seed
	inventory --no-hardlinks "$POOL/idle" >"$W/idle"
	store_inventory >"$W/store"
	guests_mount "" a b c idle
	local pid before
	pid=$(daemon_of "$M/a")
	before=$(resident "$pid")

	"$PYTHON" "$TEST_DIR/load.py" break "$M/b" "$M/c" "$W/stop" &
	local breaker=$!
	run_fio "$seconds"
	run_stress "$seconds"
	touch "$W/stop"
	wait $breaker || fail "breaking links beside it"
	rm "$W/stop"

	"$PYTHON" "$TEST_DIR/load.py" check "$M/b" "$M/c"
	rm -rf "$M/a/stress" "$M/a/fio"
	echo 2 >/proc/sys/vm/drop_caches
	[ "$(ls "/proc/$pid/fd" | wc -l)" -le 100 ] || fail "the daemon holds $(ls "/proc/$pid/fd" | wc -l) descriptors"
	say "      the daemon: $before KiB before, $(resident "$pid") KiB now"
	[ "$(resident "$pid")" -le $((before + 65536)) ] || fail "the daemon has grown from $before to $(resident "$pid") KiB"
	guests_umount a b c idle
	inventory --no-hardlinks "$POOL/idle" >"$W/idle.after"
	same "$W/idle" "$W/idle.after" "the idle guest has changed"
	store_inventory >"$W/store.after"
	same "$W/store" "$W/store.after" "an object has changed"
	[ -z "$(ls -A "$POOL/.hash/tmp")" ] || fail "left in tmp: $(ls -A "$POOL/.hash/tmp")"
}

check ext4
