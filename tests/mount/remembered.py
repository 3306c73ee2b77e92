#!/usr/bin/env python3
"""remembered.py seed POOL; remembered.py run POOL MOUNTS MODE"""
import os
import random
import sys
import threading

import cases
import tree
from cases import case, expect, expect_equal

BREAKS = 3000
EMPTIED = 1500
READS = ("read", "ahead", "opened")
LONG_AGO = 1_000_000_000


def seed(pool):
    for g in "abc":
        for i in range(BREAKS):
            tree.put("%s/%s/breaks/f%d" % (pool, g, i), b"%064d" % i)
        for i in range(EMPTIED):
            tree.put("%s/%s/emptied/f%d" % (pool, g, i), b"%064d" % (i + BREAKS))
        for name in READS:
            tree.put("%s/%s/reads/%s" % (pool, g, name), tree.noise(name, 20000))
        tree.settle(pool + "/" + g)


class Tree:
    def __init__(self, pool, mounts, mode):
        self.pool, self.mount, self.mode = pool, mounts + "/a", mode


@case("a directory's times are right after its files were broken while somebody looked at it")
def _(t):
    d = t.mount + "/breaks"
    paths = ["%s/f%d" % (d, i) for i in range(BREAKS)]
    begin = threading.Barrier(2)

    def change():
        for path in paths:
            begin.wait()
            os.chmod(path, 0o600)
            begin.wait()

    changing = threading.Thread(target=change)
    changing.start()
    wrong = 0
    for path in paths:
        begin.wait()
        for _ in range(3):
            os.utime(d, (LONG_AGO, LONG_AGO))  # its answer tells the kernel of the times
        begin.wait()
        wrong += os.stat(d).st_mtime != LONG_AGO
    changing.join()
    expect_equal(os.stat(t.pool + "/a/breaks").st_mtime, LONG_AGO, "natively")
    expect_equal(wrong, 0, "how many times the mount told another time")


def hammer(d, number):
    r = random.Random(number)
    for _ in range(6000):
        path = "%s/f%d" % (d, r.randrange(EMPTIED))
        what = r.randrange(3)
        if what == 0:
            os.truncate(path, r.randrange(1, 80))
        elif what == 1:
            os.chmod(path, r.choice((0o600, 0o640)))
        else:
            os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))


@case("sizes are right after files were emptied by readers and truncated by others at the same time")
def _(t):
    d = t.mount + "/emptied"
    children = []
    for number in range(6):
        pid = os.fork()
        if pid == 0:
            try:
                hammer(d, number)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    expect(all([os.waitpid(pid, 0)[1] == 0 for pid in children]), "an operation has failed")
    for i in range(EMPTIED):
        natively = os.stat("%s/a/emptied/f%d" % (t.pool, i)).st_size
        expect_equal(os.stat("%s/f%d" % (d, i)).st_size, natively, "size of f%d" % i)
        expect_equal(len(tree.slurp("%s/f%d" % (d, i))), natively, "bytes of f%d" % i)


@case("reading a link does not move its time of access, which is other guests' as well")
def _(t):
    def natively(name):
        return "%s/b/reads/%s" % (t.pool, name)

    for name in READS:
        expect(os.lstat(natively(name)).st_nlink > 1, name, "is no link, this proves nothing")
        os.utime(natively(name), ns=(LONG_AGO * 10**9, os.stat(natively(name)).st_mtime_ns))
    tree.slurp(t.mount + "/reads/read")
    fd = os.open(t.mount + "/reads/ahead", os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
    os.pread(fd, 100, 0)
    os.close(fd)
    fd = os.open(t.mount + "/reads/opened", os.O_RDONLY)
    for at in range(0, 20000, 1000):
        os.pread(fd, 1000, at)
    os.close(fd)
    for name in READS:
        expect_equal(os.lstat(natively(name)).st_atime, LONG_AGO, name)


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        seed(sys.argv[2])
    else:
        cases.run(Tree(*sys.argv[2:5]))
