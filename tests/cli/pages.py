"""What was not in the page cache before a pass, and does not become an object, is not there afterwards; atimes stay."""
import contextlib
import os
import signal
import subprocess
import sys

import cases
import kernel
import tree
from cases import NotHere, case, expect, expect_equal
from cli import HASHIFY, new_pool, summary

TOP = sys.argv[1]
NO_RING = os.environ.get("NO_RING")
if NO_RING:
    os.environ["LD_PRELOAD"] = NO_RING
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
SIZES = (3000, 50_000, 3_000_000)  # of small files, and of one that is read in pieces


def fill(pool, twins="ab"):
    """Of each size files that two guests have, and others that only look alike."""
    for size in SIZES:
        for i in range(4):
            pool.put_all("twin%d-%d" % (size, i), tree.noise((size, i), size), guests=twins, atime=tree.OLD)
            for g in "ab":
                pool.put("%s/own%d-%d" % (g, size, i), tree.noise((size, i, g), size), atime=tree.OLD)
    kernel.drop_caches()


def files(pool):
    return sorted(os.path.join(d, n) for g in "ab" for d, _, names in os.walk(pool.at(g)) for n in names)


def there(pool):
    return {os.path.relpath(f, pool.path): kernel.pages_there(f) for f in files(pool)}


def read_parts(path):
    """Brings some pages of a file into memory, not those at its begin."""
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        size = os.fstat(fd).st_size
        for at in (size // 2, size - 1):
            os.pread(fd, 1, at)
    finally:
        os.close(fd)


def differences(before, after):
    pages = range(len(before))
    return [i for i in pages if after[i] > before[i]], [i for i in pages if after[i] < before[i]]


def expect_atimes(pool):
    for f in files(pool):
        expect_equal(os.stat(f).st_atime_ns, tree.OLD, f)


def expect_cold(pool, *but):
    for f, pages in there(pool).items():
        if f not in but:
            expect_equal(sum(pages), 0, "pages of " + f)


@case("a dry run leaves nothing behind, whatever it says of a file")
def _(_):
    with new_pool(TOP) as pool, kernel.caches_alone():
        fill(pool)
        s = summary("--dry-run", pool.path)
        expect_equal((s["objects_created"], s["linked"], s["skipped"]["alone"]), (12, 12, 24))
        expect_cold(pool)
        expect_atimes(pool)


@case("a pass leaves objects alone")
def _(_):
    with new_pool(TOP) as pool, kernel.caches_alone():
        fill(pool)
        s = summary(pool.path)
        expect_equal((s["objects_created"], s["linked"], s["skipped"]["alone"]), (12, 12, 24))
        twins = [f for f in there(pool) if "/twin" in f]
        expect_equal(len(twins), 24)
        expect_cold(pool, *twins)
        expect_atimes(pool)
        kernel.drop_caches()
        summary(pool.path)
        expect_cold(pool)


@case("what was there stays there, page by page")
@kernel.undisturbed
def _(_):
    for how in ("--dry-run", "--sync=none"):
        with new_pool(TOP) as pool, kernel.caches_alone():
            # What is read first is cold, and so what follows is expected to be. (btrfs has files of less than 2 KiB at once.)
            for g in "ab":
                pool.put(g + "/own", tree.noise(g, 3001), atime=tree.OLD)
            fill(pool)
            for i, f in enumerate(files(pool)):
                if f.endswith("/own"):
                    continue
                if i % 3 == 0:
                    read_parts(f)
                elif i % 3 == 1:
                    tree.slurp(f)
                os.utime(f, ns=(tree.OLD, tree.OLD))
            before = there(pool)
            expect(any(0 < sum(p) < len(p) for p in before.values()), "none is there in part")
            summary(how, "--jobs=1", pool.path)
            for f, pages in there(pool).items():
                if how == "--dry-run" or "/own" in f:
                    expect_equal(differences(before[f], pages), ([], []), "pages of %s that came, and that went" % f)
            expect_atimes(pool)


@case("what cannot be linked, after it was read, does not stay there")
def _(_):
    with new_pool(TOP) as pool, kernel.caches_alone():
        for size in SIZES:
            pool.put_all("d/f%d" % size, tree.noise(size, size), guests="ab", atime=tree.OLD)
        kernel.drop_caches()
        subprocess.run(["chattr", "+i", pool.at("a/d"), pool.at("b/d")], check=True)
        try:
            s = summary(pool.path)
            expect_equal((s["objects_created"], s["skipped"]["flags"]), (len(SIZES), len(SIZES)))
            expect_equal(len(pool.objects()), len(SIZES))
            marked = [f for f in there(pool) if os.lstat(pool.at(f)).st_nlink > 1]
            expect_cold(pool, *marked)
            expect_atimes(pool)
        finally:
            subprocess.run(["chattr", "-i", pool.at("a/d"), pool.at("b/d")], check=True)


def stop_a_pass(pool, *options, **kw):
    """Interrupts it when it has begun to read."""
    process = subprocess.Popen([HASHIFY, "--progress=1", *options, pool.path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               **kw)
    while b"reading: 0 %" in (line := process.stderr.readline()) or b"reading: " not in line:
        expect(line, "it ended")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    expect_equal(process.returncode, 130)


@case("nor does what was read when a pass is stopped")
def _(_):
    with new_pool(TOP) as pool, kernel.caches_alone():
        for i in range(20):
            pool.put("a/f%d" % i, tree.noise(i, 100_000), atime=tree.OLD)
        kernel.drop_caches()
        stop_a_pass(pool, "--io-limit=400K")
        expect_cold(pool)
        expect_atimes(pool)


def requests_to_disk(path):
    """How many reads the disk below @path has done."""
    stat = "/sys/dev/block/%s/stat" % kernel.disk_of(path)
    if not os.path.exists(stat):
        raise NotHere("btrfs has a disk of its own making")
    with open(stat) as f:
        return int(f.read().split()[0])


def slow_disk(path, reads):
    requests_to_disk(path)
    disk = kernel.SlowDisk(path, reads)
    if not disk.dir:
        raise NotHere("nothing here can slow a disk down")
    return disk


@case("nor what a slow disk was sent for then")
def _(_):
    with new_pool(TOP) as pool, kernel.caches_alone(), contextlib.closing(slow_disk(TOP, reads=200)) as disk:
        for i in range(4000):
            pool.put("a/f%d" % i, tree.noise(i, 300_000 if i % 20 == 0 else 5000), atime=tree.OLD)
        kernel.drop_caches()
        stop_a_pass(pool, "--jobs=4", preexec_fn=disk.enter)
        expect_cold(pool)
        expect_atimes(pool)


@case("small files that are side by side on the disk are read together")
def _(_):
    files = 2000
    with new_pool(TOP) as pool, kernel.caches_alone():
        for g in "ab":
            for i in range(files // 2):
                pool.put("%s/f%d" % (g, i), tree.noise(i, 4000))
        kernel.drop_caches()
        summary("--dry-run", "--jobs=1", "--min-size=5000", pool.path)  # the walk alone
        walk = requests_to_disk(TOP)
        summary("--dry-run", "--jobs=1", pool.path)
        reads = requests_to_disk(TOP) - walk
        if NO_RING:
            expect(reads > 0.9 * files, reads, "reads for", files, "files")
        else:
            expect(reads < 0.4 * files, reads, "reads for", files, "files")


sys.exit(cases.run(None))
