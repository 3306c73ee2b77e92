#!/usr/bin/env python3
"""Reads all files of one guest natively, then of all guests through their mounts, and compares what the page cache holds.

    guest_memory.py POOL MOUNTS GUEST…

Counted twice: exactly, by cachestat(2) of every inode natively and of every inode of the mounts; and as a user would, by the growth of
Cached in /proc/meminfo, which counts whatever else the machine does.
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


def measure(read, natively, mounted):
    """Drops the caches, brings in what is needed to find the files, reads them: (growth of Cached, held natively, held in the mounts)."""
    kernel.drop_caches()
    for p in read + natively:
        os.lstat(p)
        os.close(os.open(p, os.O_RDONLY))
    before = kernel.meminfo_cached()
    read_all(read)
    return kernel.meminfo_cached() - before, held(natively), held(mounted)


def main(pool, mounts, guests):
    native = {g: list(files(pool + "/" + g)) for g in guests}
    mounted = {g: list(files(mounts + "/" + g)) for g in guests}
    all_native, all_mounted = sum(native.values(), []), sum(mounted.values(), [])

    grown = {"one": [], "all": []}
    for _ in range(6):
        with kernel.caches_alone():
            one, one_held, _ = measure(native[guests[0]], native[guests[0]], [])
            all_of_them, held_natively, held_in_mounts = measure(all_mounted, all_native, all_mounted)
        held_by_all = held_natively + held_in_mounts
        if held_by_all < one_held:
            continue  # another program has dropped the caches meanwhile
        # Whatever else runs can only add to this.
        grown["one"].append(one)
        grown["all"].append(all_of_them)
        of_one, of_all = min(grown["one"]), min(grown["all"])
        print("      memory: one guest natively %.1f MB, %d guests through their mounts %.1f MB, %.3f (/proc/meminfo);"
              " %.1f MB, %.1f MB, %.3f (cachestat)" % (of_one / 1e6, len(guests), of_all / 1e6, of_all / of_one, one_held / 1e6,
                                                       held_by_all / 1e6, held_by_all / one_held), flush=True)
        if held_by_all > BOUND * one_held:
            break  # exact, so no better next time
        if of_all <= BOUND * of_one:
            print("ok    %d guests are in memory once" % len(guests), flush=True)
            return 0
    print("FAIL  more than %.1f times one guest" % BOUND)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
