#!/usr/bin/env python3
"""What the daemon's table of descriptors looks like: fds.py seed POOL; fds.py run MOUNT PID BOUND [CASE]"""
import os
import resource
import sys
import time

import cases
import kernel
import tree
from cases import case, expect, expect_equal

FILES = 20_000
TEXT = tree.noise("text", 6000)


def seed(pool):
    for g in "ab":
        for i in range(FILES):
            # Every tenth is a link, of 20 objects; the rest are private.
            text = tree.noise(i % 20, 6000) if i % 10 == 0 else b"%s %d" % (g.encode(), i)
            tree.put("%s/%s/d%d/f%d" % (pool, g, i % 100, i), text)


class Tree:
    def __init__(self, mount, pid, bound):
        self.mount, self.pid, self.bound = mount, int(pid), int(bound)

    def path(self, i):
        return "%s/d%d/f%d" % (self.mount, i % 100, i)

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def expect_fds(self, most, what):
        """RELEASE and FORGET come after close(2) has returned: give them time, but no more than they need."""
        deadline = time.monotonic() + 10
        while (n := self.fds()) > most:
            expect(time.monotonic() < deadline, what, ":", n, "descriptors, at most", most, "expected")
            os.sched_yield()


@case("10,000 opens and closes, of links and private files, for reading and writing")
def _(t):
    before = t.fds()
    for i in range(10_000):
        os.close(os.open(t.path(i), os.O_RDONLY))
    for i in range(0, 200):
        os.close(os.open(t.path(i), os.O_RDWR))
    t.expect_fds(before + 4, "after the opens")


@case("20,000 files looked up")
def _(t):
    before = t.fds()
    for i in range(FILES):
        os.lstat(t.path(i))
    for d in range(100):
        os.listdir("%s/d%d" % (t.mount, d))
    t.expect_fds(before + 64, "after the look-ups")


@case("1,000 nameless files that got a name")
def _(t):
    before = t.fds()
    for i in range(1000):
        fd = os.open(t.mount, os.O_TMPFILE | os.O_RDWR, 0o600)
        kernel.link_fd(fd, "%s/linked%d" % (t.mount, i))
        os.close(fd)
    t.expect_fds(before + 8, "after they were closed")


@case("5,000 links and private files held open for reading")
def _(t):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = t.fds()
    held = [os.open(t.path(i * 2), os.O_RDONLY) for i in range(5_000)]
    expect(t.fds() <= before + t.bound, t.fds() - before, "more descriptors, at most", t.bound, "expected")
    for i in (0, 10, 20, 4990):  # links
        expect_equal(os.pread(held[i // 2], 10_000, 0), tree.noise(i % 20, 6000))
    for fd in held:
        os.close(fd)
    t.expect_fds(before + 4, "after they were closed")


@case("1,000 links held open and each broken")
def _(t):
    before = t.fds()
    paths = [t.path(i * 10) for i in range(100, 1_100)]
    held = [os.open(p, os.O_RDONLY) for p in paths]
    for p in paths:
        os.chmod(p, 0o600)
        with open(p, "ab") as f:
            f.write(b"!")
    for fd in held:
        os.pread(fd, 10, 0)
        os.close(fd)
    t.expect_fds(before + 4, "after they were closed")


@case("1,000 files made, unlinked while open, and closed")
def _(t):
    before = t.fds()
    held = []
    for i in range(1_000):
        held.append(os.open("%s/new%d" % (t.mount, i), os.O_RDWR | os.O_CREAT, 0o600))
        os.write(held[-1], b"x" * 5000)
        os.unlink("%s/new%d" % (t.mount, i))
    for fd in held:
        os.close(fd)
    t.expect_fds(before + 4, "after they were closed")


@case("1,000 links unlinked while open, and closed")
def _(t):
    before = t.fds()
    held = []
    for i in range(200, 1200):
        held.append(os.open(t.path(i * 10), os.O_RDONLY))
        os.unlink(t.path(i * 10))
    for fd in held:
        expect(os.pread(fd, 10, 0))
        os.close(fd)
    kernel.drop_caches()
    t.expect_fds(before + 4, "after they were closed")
    for i in range(200, 1200):  # for the next round
        with open(t.path(i * 10), "wb") as f:
            f.write(b"x")


def limit_of(pid):
    with open("/proc/%d/limits" % pid) as f:
        return int(next(line.split()[3] for line in f if line.startswith("Max open files")))


@case("800 links broken and 1,700 files deleted, all held open, leave room for others")
def _(t):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = t.fds()
    paths = [t.path(i * 10) for i in range(1_200, 2_000)]
    held = [os.open(p, os.O_RDONLY) for p in paths]
    for p in paths:
        with open(p, "ab") as f:
            f.write(b"!")
        with open(p, "rb") as f:
            expect_equal(f.read()[-1:], b"!")
    deleted = []
    for i in range(1_700):
        p = "%s/deleted%d" % (t.mount, i)
        deleted.append(os.open(p, os.O_RDWR | os.O_CREAT, 0o600))
        os.write(deleted[-1], b"deleted %d" % i)
        os.unlink(p)
    most = limit_of(t.pid) // 2 + t.bound
    expect(t.fds() <= most, t.fds(), "descriptors, at most", most, "expected")
    for i, fd in enumerate(deleted):
        os.ftruncate(fd, len(b"deleted %d" % i))
        os.fsync(fd)
        expect_equal((os.pread(fd, 100, 0), os.fstat(fd).st_nlink), (b"deleted %d" % i, 0))
    for p, fd in zip(paths, held):
        size = len(os.pread(fd, 10_000, 0))
        expect_equal(os.fstat(fd).st_size, size)
        os.unlink(p)
        expect_equal((os.fstat(fd).st_size, os.fstat(fd).st_nlink), (size, 0))
    for fd in held + deleted:
        os.close(fd)
    kernel.drop_caches()
    t.expect_fds(before + 4, "after they were closed")
    for p in paths:  # for the next round
        with open(p, "wb") as f:
            f.write(b"x")


@case("nothing is left when the kernel forgets all")
def _(t):
    before = t.fds()
    kernel.drop_caches()
    t.expect_fds(before, "after drop_caches")


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        seed(sys.argv[2])
    else:
        sys.exit(cases.run(Tree(*sys.argv[2:5]), only="".join(sys.argv[5:])))
