#!/usr/bin/env python3
"""streams.py seed POOL; streams.py run MOUNT PID"""
import os
import resource
import sys

import cases
import kernel
import tree
from cases import NotHere, case, expect, expect_equal

NAMES = 300
STREAMS = 600
KEPT = 256  # STREAMS_KEPT in fs/stream.h
LONG_NAMES = ["%0200d" % i for i in range(5000)]
MIB = 1 << 20


def seed(pool):
    for g in "ab":
        for i in range(NAMES):
            tree.put("%s/%s/d/n%d" % (pool, g, i), b"%d" % (i % 10 * 1000))
        tree.put("%s/%s/d/moving" % (pool, g), b"")
    for name in LONG_NAMES + ["moving"]:
        tree.put("%s/a/long/%s" % (pool, name), b"")


class Tree:
    def __init__(self, mount, pid):
        self.mount, self.pid = mount, int(pid)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def memory(self):
        with open("/proc/%d/maps" % self.pid) as f:
            if "san.so" in f.read():
                raise NotHere("the sanitizers take more than hashfs does")
        with open("/proc/%d/statm" % self.pid) as f:
            return int(f.read().split()[1]) * kernel.PAGE

    def half_read(self, d, count):
        """Streams of a directory that was changed before each was opened, so that the kernel had to ask for its entries."""
        streams = []
        for i in range(count):
            os.rename("%s/%s" % (d, ("moving", "moved")[i % 2]), "%s/%s" % (d, ("moved", "moving")[i % 2]))
            fd = os.open(d, os.O_RDONLY | os.O_DIRECTORY)
            streams.append((fd, kernel.getdents(fd, 600)))
        return streams


@case("of 600 directories in the middle of reading, those that were read last take a descriptor")
def _(t):
    before = t.fds()
    streams = t.half_read(t.mount + "/d", STREAMS)
    expect(t.fds() <= before + KEPT + 8, t.fds() - before, "more descriptors")
    for fd, seen in streams:
        expect(0 < len(seen) < NAMES, len(seen), "names at once, this proves nothing")
        while more := kernel.getdents(fd, 4096):
            seen += more
        os.close(fd)
        still = sorted(n for n in seen if n.startswith("n"))
        expect_equal(still, sorted("n%d" % i for i in range(NAMES)))
    expect(t.fds() <= before + KEPT + 8, t.fds() - before, "more descriptors after they were read")


@case("a directory that is rewound after many others were read shows what is there now")
def _(t):
    d = t.mount + "/d"
    fd = os.open(d, os.O_RDONLY | os.O_DIRECTORY)
    kernel.getdents(fd, 600)
    others = t.half_read(d, STREAMS)
    tree.put(d + "/later", b"")
    os.lseek(fd, 0, os.SEEK_SET)
    expect("later" in os.listdir(fd), "it is missing")
    os.unlink(d + "/later")
    for other, _ in others:
        os.close(other)
    os.close(fd)


@case("300 directories of 1 MiB in the middle of reading take 64 MiB")
def _(t):
    before = t.memory()
    streams = t.half_read(t.mount + "/long", 300)
    more = t.memory() - before
    expect(more < 110 * MIB, more // MIB, "MiB more")
    for fd, seen in streams[:3] + streams[-3:]:
        while names := kernel.getdents(fd, 65536):
            seen += names
        expect_equal(sorted(n for n in seen if n[0] == "0"), LONG_NAMES)
    for fd, _ in streams:
        os.close(fd)


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        seed(sys.argv[2])
    else:
        cases.run(Tree(*sys.argv[2:])) and sys.exit(1)
