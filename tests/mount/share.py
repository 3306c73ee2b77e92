#!/usr/bin/env python3
"""Is the memory of a link shared? Run by on_guests. Without passthrough the content must be right all the same."""
import contextlib
import mmap
import os
import shutil
import subprocess
import sys

import guests
import kernel
import tree
from cases import NotHere, case, expect, expect_equal

MIB = 1 << 20
SIZE = 50 * MIB
BLOCK = tree.noise("block", MIB)


def seed(pool):
    for g in "abc":
        # Different blocks, so that nothing but our links makes them one.
        tree.put(pool + "/" + g + "/big", b"".join(b"%08d" % i + BLOCK[8:] for i in range(SIZE // MIB)))
        tree.put(pool + "/" + g + "/lib", tree.noise("lib", 300_000), mode=0o755)
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
def _(t):
    links_are_passed_through(t)
    growth = []
    for _ in range(3):  # other programs use the machine, too
        with kernel.caches_alone():
            kernel.drop_caches()
            for g in "abc":
                os.stat(t.mounted("big", g))
            before = kernel.meminfo_cached()
            for g in "abc":
                expect_equal(read_all(t.mounted("big", g)), SIZE)
            growth.append(kernel.meminfo_cached() - before)
            behind = cached(t.native("big"))
            through = [cached(t.mounted("big", g)) for g in "abc"]
        expect_equal(through, [0, 0, 0], "bytes cached in the mounts' own inodes")
        expect(0.9 * SIZE <= behind <= SIZE + kernel.PAGE, "the object has", behind, "bytes in the cache")
        if growth[-1] <= 1.1 * SIZE:
            break
    expect(min(growth) <= 1.1 * SIZE, "the page cache grew by", growth, "for", SIZE)
    print("      the page cache grew by %.1f MB for %.1f MB" % (growth[-1] / 1e6, SIZE / 1e6))


@case("mappings through two mounts and natively have the same physical pages, shared or private")
def _(t):
    links_are_passed_through(t)
    native = frames(t.native("lib", "c"))
    expect_equal(frames(t.mounted("lib"), mmap.MAP_PRIVATE), native, "in guest a, private")
    expect_equal(frames(t.mounted("lib", "b")), native, "in guest b, shared")


@case("a private file's pages are shared with its native view, too")
def _(t):
    if t.mode == "none":
        raise NotHere("no passthrough")
    with open(t.mounted("private"), "wb") as f:
        f.write(BLOCK)
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
    a, b, c = [frames(t.mounted("lib", g)) for g in "abc"]
    expect(b == c, "b and c no longer share")
    expect(not set(a) & set(b), "a still uses the object's pages")


if __name__ == "__main__":
    sys.exit(guests.main(seed))
