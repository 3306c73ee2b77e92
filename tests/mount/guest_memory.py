#!/usr/bin/env python3
"""Reads all files of one guest natively, then of all guests through their mounts, and compares what the page cache holds.

    guest_memory.py POOL MOUNTS GUEST…

Counted three times: by cachestat(2) of every inode natively and of every inode of the mounts; by the memory control group of the
reader; and, only to be read, by the growth of Cached in /proc/meminfo, where whatever else the machine does is counted, too.
"""
import os
import stat
import sys

import kernel

BOUND = 1.1


def files(top):
    for d, dirs, names in os.walk(top):
        for n in names:
            p = os.path.join(d, n)
            if stat.S_ISREG(os.lstat(p).st_mode):
                yield p


def read_all(paths):
    buf = bytearray(1 << 20)
    for p in paths:
        with open(p, "rb", buffering=0) as f:
            while f.readinto(buf):
                pass


def held(paths):
    """Bytes in the page cache of all these inodes, each once."""
    seen = {}
    for p in paths:
        fd = os.open(p, os.O_RDONLY)
        st = os.fstat(fd)
        seen[st.st_dev, st.st_ino] = kernel.cached_pages(fd) * kernel.PAGE
        os.close(fd)
    return sum(seen.values())


def whole(paths):
    """Bytes of page cache that all these inodes fill, each once."""
    sizes = {}
    for p in paths:
        st = os.lstat(p)
        sizes[st.st_dev, st.st_ino] = -(-st.st_size // kernel.PAGE) * kernel.PAGE
    return sum(sizes.values())


class Measured:
    """Drops the caches, brings in what is needed to find the files, reads them. Not .complete if another program has dropped caches
    meanwhile."""

    def __init__(self, group, read, natively, mounted):
        kernel.drop_caches()
        for p in read + natively:
            os.lstat(p)
            os.close(os.open(p, os.O_RDONLY))
        before = kernel.meminfo_cached()
        if group.dir:
            self.group = group.grown_by(read_all, read)
        else:
            read_all(read)
        self.meminfo = kernel.meminfo_cached() - before
        self.cachestat = held(natively) + held(mounted)
        missing = whole(natively) - self.cachestat
        self.complete = missing <= 0
        if not self.complete:
            print("      once more: %.1f MB of what was read have left memory meanwhile" % (missing / 1e6), flush=True)


def tell(what, one, many):
    print("      memory by %s: one guest natively %.1f MB, all through their mounts %.1f MB: %.3f" % (
        what, one / 1e6, many / 1e6, many / one), flush=True)
    return many <= BOUND * one


def compare(group, native, mounted, guests):
    """True or false, or None if it could not be measured."""
    first = native[guests[0]]
    with kernel.caches_alone():
        one = Measured(group, first, first, [])
        many = Measured(group, sum(mounted.values(), []), sum(native.values(), []), sum(mounted.values(), []))
    if not one.complete or not many.complete:
        return None
    tell("/proc/meminfo", one.meminfo, many.meminfo)
    ok = tell("cachestat", one.cachestat, many.cachestat)
    return tell("control group", one.group, many.group) and ok if group.dir else ok


def main(pool, mounts, guests):
    native = {g: list(files(pool + "/" + g)) for g in guests}
    mounted = {g: list(files(mounts + "/" + g)) for g in guests}
    group = kernel.PageCacheOf()
    try:
        for _ in range(5):
            ok = compare(group, native, mounted, guests)
            if ok is not None:
                break
    finally:
        group.close()
    print("%s  %d guests are in memory once" % ("ok  " if ok else "FAIL", len(guests)), flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
