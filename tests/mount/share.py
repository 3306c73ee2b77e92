#!/usr/bin/env python3
"""Is the memory of a link shared? Run by on_guests. Without passthrough the content must be right all the same."""
import contextlib
import errno
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time

import guests
import kernel
import tree
from cases import NotHere, case, expect, expect_equal, expect_errno, expect_soon

MIB = 1 << 20
RACES = 300
SIZE = 50 * MIB
BLOCK = tree.noise("block", MIB)


def seed(pool):
    for g in "abc":
        # Different blocks, so that nothing but our links makes them one.
        tree.put(pool + "/" + g + "/big", b"".join(b"%08d" % i + BLOCK[8:] for i in range(SIZE // MIB)))
        tree.put(pool + "/" + g + "/lib", tree.noise("lib", 300_000), mode=0o755)
        tree.put(pool + "/" + g + "/sparse", [(1 << 20, b"data" * 200_000), (8 << 20, b"")], holes=True)
        tree.put(pool + "/" + g + "/emptied", tree.noise("emptied", 300_000))
        tree.put(pool + "/" + g + "/advised", tree.noise("advised", 300_000))
        for i in range(RACES):
            tree.put(pool + "/" + g + "/raced/%d" % i, tree.noise("raced", 9000))
        shutil.copyfile("/usr/bin/env", pool + "/" + g + "/env")
        os.chmod(pool + "/" + g + "/env", 0o755)
        os.utime(pool + "/" + g + "/env", ns=(tree.OLD, tree.OLD))
        tree.settle(pool + "/" + g)


def read_all(path):
    with open(path, "rb", buffering=0) as f:
        n = 0
        while piece := f.read(MIB):
            n += len(piece)
    return n


def cached(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return kernel.cached_pages(fd) * kernel.PAGE
    finally:
        os.close(fd)


def links_are_passed_through(t):
    if t.mode != "passthrough":
        raise NotHere("links are read through the daemon")


def frames(path, flags=mmap.MAP_SHARED):
    """The page frame numbers of a file's first pages, mapped."""
    fd = os.open(path, os.O_RDONLY)
    try:
        with contextlib.closing(kernel.Mapping(fd, 300_000, flags)) as m:
            ret = m.frames()
    finally:
        os.close(fd)
    expect(all(ret), "no page frame numbers")
    return ret


@case("the content is right, natively and through each mount")
def _(t):
    t.expect_link("big")
    for rel in ("big", "lib", "env"):
        text = tree.slurp(t.native(rel))
        for g in "abc":
            expect(tree.slurp(t.mounted(rel, g)) == text, g, rel)


@case("50 MB read through three mounts are in the page cache once")
@kernel.undisturbed
def _(t):
    links_are_passed_through(t)
    paths = [t.mounted("big", g) for g in "abc"]
    with kernel.caches_alone(), contextlib.closing(kernel.PageCacheOf()) as group:
        kernel.drop_caches()
        if group.dir:
            grown = group.grown_by(lambda: [read_all(p) for p in paths])
            print("      the page cache grew by %.1f MB for %.1f MB" % (grown / 1e6, SIZE / 1e6))
            expect(grown <= 1.1 * SIZE, "the page cache grew by", grown, "for", SIZE)
        else:
            expect_equal([read_all(p) for p in paths], [SIZE] * 3)
        behind, through = cached(t.native("big")), [cached(p) for p in paths]
    expect_equal(through, [0, 0, 0], "bytes cached in the mounts' own inodes")
    expect(0.9 * SIZE <= behind <= SIZE + kernel.PAGE, "the object has", behind, "bytes in the cache")


@case("mappings through two mounts and natively have the same physical pages, shared or private")
@kernel.undisturbed
def _(t):
    links_are_passed_through(t)
    with kernel.caches_alone():
        native = frames(t.native("lib", "c"))
        expect_equal(frames(t.mounted("lib"), mmap.MAP_PRIVATE), native, "in guest a, private")
        expect_equal(frames(t.mounted("lib", "b")), native, "in guest b, shared")


@case("a private file's pages are shared with its native view, too")
def _(t):
    if t.mode == "none":
        raise NotHere("no passthrough")
    with open(t.mounted("private"), "wb") as f:
        f.write(BLOCK)
    with kernel.caches_alone():
        expect_equal(frames(t.mounted("private")), frames(t.native("private")))


def text_frames(path):
    """A process that has just become the program @path, and the page frame numbers of its text, all touched."""
    p = subprocess.Popen([path, "true"], preexec_fn=kernel.stop_at_exec)
    os.waitpid(p.pid, os.WUNTRACED)
    with open("/proc/%d/maps" % p.pid) as f:
        line = next(line for line in f if " r-xp " in line and line.rstrip().endswith("/env"))
    start, end = (int(x, 16) for x in line.split()[0].split("-"))
    with open("/proc/%d/mem" % p.pid, "rb", buffering=0) as f:
        for address in range(start, end, kernel.PAGE):
            f.seek(address)
            f.read(1)
    return p, kernel.page_frames(p.pid, start, end)


@case("a running program's text is shared between guests")
def _(t):
    links_are_passed_through(t)
    with kernel.caches_alone():
        a, of_a = text_frames(t.mounted("env"))
        b, of_b = text_frames(t.mounted("env", "b"))
    for p in (a, b):
        p.kill()
        p.wait()
    expect(all(of_a), "not all of the text is in memory")
    expect_equal(of_b, of_a, "page frames")


@case("after a break the others still share, and the copy is its own")
def _(t):
    with open(t.mounted("lib"), "r+b") as f:
        f.write(b"mine")
    expect(tree.slurp(t.mounted("lib", "b")) == tree.noise("lib", 300_000), "guest b has changed")
    links_are_passed_through(t)
    with kernel.caches_alone():
        a, b, c = [frames(t.mounted("lib", g)) for g in "abc"]
    expect(b == c, "b and c no longer share")
    expect(not set(a) & set(b), "a still uses the object's pages")


def disk_used(t):
    os.sync()
    st = os.statvfs(t.pool)
    return (st.f_blocks - st.f_bfree) * st.f_frsize


@case("a break of 50 MB copies no data where the filesystem has reflinks")
def _(t):
    if t.kind not in ("xfs", "btrfs"):
        raise NotHere(t.kind)
    before = disk_used(t)
    os.chmod(t.mounted("big"), 0o600)
    expect(tree.slurp(t.mounted("big")) == tree.slurp(t.native("big", "b")), "the copy differs")
    expect(disk_used(t) - before < 8 * MIB, "the break took", disk_used(t) - before, "bytes")


@case("O_TRUNC of 50 MB copies no data")
def _(t):
    before = disk_used(t)
    with open(t.mounted("big"), "wb") as f:
        f.write(b"short")
    expect(disk_used(t) - before < 8 * MIB, "it took", disk_used(t) - before, "bytes")
    expect_equal(tree.slurp(t.mounted("big")), b"short")


@case("holes survive a break")
def _(t):
    os.chmod(t.mounted("sparse"), 0o600)
    st = os.lstat(t.native("sparse"))
    expect(st.st_nlink == 1 and st.st_size == 8 << 20)
    expect(st.st_blocks * 512 <= os.lstat(t.native("sparse", "b")).st_blocks * 512 + 128 * 1024, st.st_blocks, "blocks")
    expect(tree.slurp(t.mounted("sparse")) == tree.slurp(t.native("sparse", "b")), "the copy differs")


@case("posix_fadvise(WILLNEED), readahead and sendfile of a link, before and after a break")
def _(t):
    p = t.mounted("advised")
    for change in (lambda: None, lambda: os.chmod(p, 0o600), lambda: os.truncate(p, 200_000)):
        change()
        want = tree.noise("advised", 300_000)[:os.stat(p).st_size]
        fd = os.open(p, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
        kernel.readahead(fd, 0, 300_000)
        r, w = os.pipe()
        os.sendfile(w, fd, 1000, 4096)
        expect_equal(os.read(r, 5000), want[1000:5096])
        os.close(r)
        os.close(w)
        expect(os.pread(fd, 300_000, 0) == want, "read differs")
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
            expect(m[:] == want, "a mapping differs")
        os.close(fd)
    with open(p, "r+b") as f:
        f.write(b"written after all that")
    expect_equal(tree.slurp(p)[:22], b"written after all that")


@case("an O_TRUNC that is refused has emptied nothing")
def _(t):
    links_are_passed_through(t)
    p = t.mounted("emptied")
    with open(p, "rb") as f:
        for attempt in range(2):
            expect_errno(errno.EBUSY, os.open, "/proc/self/fd/%d" % f.fileno(), os.O_WRONLY | os.O_TRUNC)
            expect_equal((os.path.getsize(p), os.path.getsize(t.native("emptied"))), (300_000, 300_000), attempt)
    expect_equal(tree.slurp(p), tree.noise("emptied", 300_000))
    with open(p, "rb"), open(p, "wb") as f:  # by its path it is emptied, whoever reads it
        f.write(b"new")
    expect_equal(tree.slurp(p), b"new")


@case("an O_TRUNC by a descriptor that is refused because of a reader who came meanwhile has emptied nothing")
def _(t):
    links_are_passed_through(t)
    for i in range(RACES):
        p = t.mounted("raced/%d" % i)
        fd = os.open(p, os.O_PATH)
        begin = time.monotonic() + 0.002
        reader = os.fork()
        if reader == 0:
            while time.monotonic() < begin + i % 60 * 10e-6:
                pass
            os.open(p, os.O_RDONLY)
            signal.pause()  # until it is killed
        while time.monotonic() < begin:
            pass
        try:
            os.close(os.open("/proc/self/fd/%d" % fd, os.O_WRONLY | os.O_TRUNC))
            want = b""
        except OSError as e:
            expect_equal(e.errno, errno.EBUSY)
            want = tree.noise("raced", 9000)
        finally:
            os.kill(reader, signal.SIGKILL)
            os.waitpid(reader, 0)
            os.close(fd)
        expect_equal(tree.slurp(t.native("raced/%d" % i)), want, i)


@case("a nameless file's space is free when it is closed")
def _(t):
    def used():
        os.sync()
        st = os.statvfs(t.mounted(""))
        return (st.f_blocks - st.f_bfree) * st.f_frsize
    before = used()
    fd = os.open(t.mounted(""), os.O_TMPFILE | os.O_RDWR, 0o600)
    os.posix_fallocate(fd, 0, 60 * MIB)
    expect(used() > before + 50 * MIB, "it takes no space")
    os.close(fd)
    # RELEASE comes after close(2) has returned, and btrfs frees with its next transaction.
    expect_soon(lambda: used() <= before + 10 * MIB, "its space is still used", seconds=40)


@case("guests b and c are what they were")
def _(t):
    t.expect_others_untouched("big", "lib", "sparse", "advised", "emptied")


if __name__ == "__main__":
    sys.exit(guests.main(seed))
