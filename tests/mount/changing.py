#!/usr/bin/env python3
"""Files that programs rewrite while hashify runs: no update may be lost, and none may reach another guest.

    changing.py seed POOL
    changing.py write POOL STOP REPORT     until the file STOP is there; writes to REPORT what each file holds last
    changing.py check POOL REPORT
"""
import json
import mmap
import os
import random
import sys

import tree

FILES = 300
SIZE = 20_000


def name(pool, guest, i):
    return "%s/%s/dir/f%d" % (pool, guest, i)


def seed(pool):
    for g in "ab":
        for i in range(FILES):
            tree.put(name(pool, g, i), tree.noise(i, SIZE))


def write(pool, stop, report):
    """Each way to write, and always the attributes back as they were: so that the file looks identical to its twin but for its content."""
    rnd = random.Random(1)
    last = {}
    held = {}
    n = 0
    while n % 50 or not os.path.exists(stop):
        n += 1
        i = rnd.randrange(FILES)
        p = name(pool, "a", i)
        if os.stat(p).st_nlink > 1 and i not in held:
            continue  # a link by now: writing to it natively is what a mount is there to prevent
        text = b"%020d" % n
        way = n % 3
        try:
            if way == 0:
                fd = os.open(p, os.O_RDWR)
                if os.fstat(fd).st_nlink > 1:
                    os.close(fd)
                    continue
                os.pwrite(fd, text, 100)
                os.close(fd)
            elif way == 1:
                if i not in held:
                    fd = os.open(p, os.O_RDWR)
                    if os.fstat(fd).st_nlink > 1:
                        os.close(fd)
                        continue
                    held[i] = mmap.mmap(fd, 0)
                    os.close(fd)
                held[i][100:120] = text
                if len(held) > 50:
                    held.pop(next(iter(held))).close()
            else:
                with open(p + ".new", "wb") as f:
                    f.write(tree.noise(i, SIZE)[:100] + text + tree.noise(i, SIZE)[120:])
                os.utime(p + ".new", ns=(tree.OLD, tree.OLD))
                held.pop(i, None)
                os.rename(p + ".new", p)
        except FileNotFoundError as e:
            sys.exit("FAIL  a name was absent: %s" % e)
        last[i] = text.decode()
        os.utime(p, ns=(tree.OLD, tree.OLD))
    with open(report, "w") as f:
        json.dump(last, f)


def check(pool, report):
    last = {int(k): v.encode() for k, v in json.load(open(report)).items()}
    bad = 0
    for i in range(FILES):
        old = tree.noise(i, SIZE)
        want = old[:100] + last[i] + old[120:] if i in last else old
        for g, w in (("a", want), ("b", old)):
            if tree.slurp(name(pool, g, i)) != w:
                bad += 1
                print("FAIL  %s holds %r" % (name(pool, g, i), tree.slurp(name(pool, g, i))[90:130]))
    print("%s  %d of %d files were rewritten during three passes" % ("FAIL" if bad else "ok  ", len(last), FILES))
    return 1 if bad else 0


if __name__ == "__main__":
    r = {"seed": seed, "write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
    sys.exit(r)
