#!/usr/bin/env python3
"""How long others wait while large links are broken.

    later.py seed POOL        before hashify
    later.py links POOL       after it
    later.py run MOUNT WAITS  of guest a. WAITS: others-served, or others-wait, where nothing is promised of them
    later.py end MOUNT PID    of guest a and its daemon, which is told to end while a crowd waits for a break
    later.py whole POOL       has all that the crowd's file had
"""
import errno
import multiprocessing
import os
import signal
import sys
import time

import cases
import kernel
import tree
from cases import Failed, case, expect, expect_equal

LARGE, MIDDLE = 512 << 20, 32 << 20
SMALL = 100  # files that others open meanwhile
CROWD = 40  # more than the daemon has threads
TRIES = 3   # the machine may be busy with something else: one try must be good
NAMES = TRIES * 4 + 1
BLOCK = tree.noise("large", (1 << 20) - 8)


def block(i):
    return i.to_bytes(8, "little") + BLOCK


def large(path, size):
    """Of two equal files hashify makes links."""
    tree.put(path, b"", xattrs={"user.old": b"1"})
    with open(path, "wb") as f:
        for i in range(size >> 20):
            f.write(block(i))
    os.utime(path, ns=(tree.OLD, tree.OLD))


def seed(pool):
    for g in "ab":
        large("%s/%s/large" % (pool, g), LARGE)
        large("%s/%s/middle" % (pool, g), MIDDLE)
        for i in range(SMALL):
            tree.put("%s/%s/small/%d" % (pool, g, i), tree.noise(i, 5000))


def links(pool):
    """More names of the objects: more links."""
    for i in range(NAMES):
        os.link(pool + "/a/large", "%s/a/large%d" % (pool, i))
    for i in range(TRIES * CROWD + 7):
        os.link(pool + "/a/middle", "%s/a/middle%d" % (pool, i))


class Guest:
    def __init__(self, mount, served):
        self.mount, self.served = mount, served
        self.used = {"large": 0, "middle": 0}

    def links(self, name, count):
        """Paths of links that nobody has broken yet."""
        first = self.used[name]
        self.used[name] += count
        return ["%s/%s%d" % (self.mount, name, i) for i in range(first, first + count)]


def timed(calls, barrier, call, path):
    barrier.wait()
    start = time.monotonic()
    try:
        call(path)
    except OSError as e:
        calls.put(e.errno)
        return
    calls.put(time.monotonic() - start)


def look(mount, n):
    """What others do, each time with at least a message to the daemon. How long the worst took."""
    worst = 0
    for step in range(3):
        start = time.monotonic()
        if step == 0:
            try:
                os.stat("%s/none %d" % (mount, n))
            except FileNotFoundError:
                pass
        elif step == 1:
            fd = os.open("%s/small/%d" % (mount, n % SMALL), os.O_RDONLY)
        else:
            expect_equal(os.pread(fd, 5000, 0), tree.noise(n % SMALL, 5000))
            os.close(fd)
        worst = max(worst, time.monotonic() - start)
    return worst


def measure(mount, paths, call):
    """Calls @call on each path at once. Returns how long the longest took, and how long others waited meanwhile."""
    calls, barrier = multiprocessing.Queue(), multiprocessing.Barrier(len(paths) + 1)
    callers = [multiprocessing.Process(target=timed, args=(calls, barrier, call, p)) for p in paths]
    for p in callers:
        p.start()
    barrier.wait()
    worst, n = 0, 0
    while any(p.exitcode is None for p in callers):
        worst = max(worst, look(mount, n))
        n += 1
    took = [calls.get() for _ in callers]
    for p in callers:
        p.join()
    failed = [t for t in took if isinstance(t, int)]
    expect(not failed, "failed with", [errno.errorcode[e] for e in failed])
    return max(took), worst


def serves_others(t, name, links, openers, call):
    said = []
    for _ in range(TRIES):
        paths = t.links(name, links) * openers
        took, worst = measure(t.mount, paths, call)
        said.append("%.3f s of %.3f" % (worst, took))
        for p in set(paths):
            os.unlink(p)
        if worst < took / 4:
            print("      others waited for " + said[-1])
            return
    raise Failed("others waited for " + ", ".join(said))


def open_to_write(path):
    os.close(os.open(path, os.O_RDWR))


def serves_others(t, name, links, openers, call):
    """@openers call @call on each of so many links at once."""
    said = []
    for _ in range(TRIES if t.served else 1):
        paths = t.links(name, links) * openers
        took, worst = measure(t.mount, paths, call)
        said.append("%.3f s while %s took %.3f s" % (worst, call.__name__, took))
        for p in set(paths):
            os.unlink(p)
        if worst < took / 4 or not t.served:
            print("      others waited for " + said[-1])
            return
    raise Failed("others waited for " + ", ".join(said))


# Each of these breaks a link. Some are done several times at once: the second may find it done.

def open_to_write(path):
    os.close(os.open(path, os.O_RDWR))


def shorten(path):
    os.truncate(path, MIDDLE - 10)


def chmod(path):
    os.chmod(path, 0o640)


def set_xattr(path):
    os.setxattr(path, "user.crowd", b"x" * 1000)


def remove_xattr(path):
    try:
        os.removexattr(path, "user.old")
    except OSError as e:
        if e.errno != errno.ENODATA:
            raise


def link(path):
    try:
        os.link(path, path + " too")
    except FileExistsError:
        pass


def set_flags(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        kernel.flags_set(fd, kernel.flags_get(fd) | kernel.FS_NODUMP_FL)
    except OSError as e:
        if e.errno != errno.ESTALE:  # through a descriptor from before the break that another has made
            raise
    finally:
        os.close(fd)


def flags(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return kernel.flags_get(fd) & kernel.FS_NODUMP_FL
    finally:
        os.close(fd)


@case("one opens a large link for writing")
def _(t):
    serves_others(t, "large", 1, 1, open_to_write)


for call in (open_to_write, chmod, set_xattr):
    @case("a crowd calls %s for one large link" % call.__name__)
    def _(t, call=call):
        serves_others(t, "large", 1, CROWD, call)


@case("a crowd opens as many links for writing")
def _(t):
    serves_others(t, "middle", CROWD, 1, open_to_write)


for call, check in {
        open_to_write: lambda path: os.stat(path).st_size == MIDDLE,
        shorten: lambda path: os.stat(path).st_size == MIDDLE - 10,
        chmod: lambda path: os.stat(path).st_mode & 0o7777 == 0o640,
        set_xattr: lambda path: os.getxattr(path, "user.crowd") == b"x" * 1000,
        remove_xattr: lambda path: "user.old" not in os.listxattr(path),
        link: lambda path: os.path.samefile(path, path + " too"),
        set_flags: flags}.items():
    @case("%s does what it should, however long it takes" % call.__name__)
    def _(t, call=call, check=check):
        path, = t.links("middle", 1)
        measure(t.mount, [path] * 3, call)
        expect(check(path), "it has not")
        with open(path, "rb") as f:
            while part := f.read(1 << 20):
                expect_equal(part, block(f.tell() - 1 >> 20)[:len(part)])
        os.unlink(path)


def open_until_the_end(ready, path):
    """Whoever is not served any more is told so."""
    ready.release()
    try:
        open_to_write(path)
    except OSError as e:
        os._exit(0 if e.errno in (errno.ENOTCONN, errno.ECONNABORTED) else e.errno)


def end(mount, pid):
    path = "%s/large%d" % (mount, NAMES - 1)
    ready = multiprocessing.Semaphore(0)
    crowd = [multiprocessing.Process(target=open_until_the_end, args=(ready, path)) for _ in range(CROWD)]
    for p in crowd:
        p.start()
    for p in crowd:
        ready.acquire()
    look(mount, 0)
    os.kill(pid, signal.SIGTERM)
    for p in crowd:
        p.join(60)
    failed = [p.exitcode for p in crowd if p.exitcode != 0]
    print("FAIL  they ended with %s" % failed if failed else "ok    a crowd is not left waiting")
    return len(failed)


def whole(path):
    with open(path, "rb") as f:
        for i in range(LARGE >> 20):
            expect_equal(f.read(1 << 20), block(i))


if __name__ == "__main__":
    # What is asked on one CPU goes to one ring.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if sys.argv[1] == "seed":
        seed(sys.argv[2])
    elif sys.argv[1] == "links":
        links(sys.argv[2])
    elif sys.argv[1] == "end":
        sys.exit(end(sys.argv[2], int(sys.argv[3])))
    elif sys.argv[1] == "whole":
        whole("%s/a/large%d" % (sys.argv[2], NAMES - 1))
    else:
        sys.exit(cases.run(Guest(sys.argv[2], sys.argv[3] == "others-served")))
