#!/usr/bin/env python3
"""load.py seed POOL FILES | break GUEST GUEST STOP | check GUEST GUEST: guests that break links, one after the other, all the time."""
import os
import random
import sys
import time

import tree

SIZE = 20_000


def names(guest):
    d = guest + "/shared"
    return [d + "/" + n for n in sorted(os.listdir(d))]


def seed(pool, files):
    for g in ("a", "b", "c", "idle"):
        for n in range(int(files)):
            tree.put("%s/%s/shared/f%d" % (pool, g, n), tree.noise(n, SIZE))
        tree.settle("%s/%s" % (pool, g))


def break_some(one, two, stop):
    """Writes the same to the same file of both, so that they can be compared with each other; and reads the rest."""
    rnd = random.Random(1)
    files = [os.path.relpath(f, one) for f in names(one)]
    while not os.path.exists(stop):
        f, how, data = rnd.choice(files), rnd.randrange(4), rnd.randbytes(100)
        for g in (one, two):
            p = g + "/" + f
            if how == 0:
                with open(p, "r+b") as h:
                    h.seek(5000)
                    h.write(data)
            elif how == 1:
                os.chmod(p, 0o600)
            elif how == 2:
                with open(p, "wb") as h:
                    h.write(data * 100)
            else:
                tree.slurp(p)
        time.sleep(0.005)  # so that there is something left to break for as long as this runs


def check(one, two):
    for a, b in zip(names(one), names(two)):
        if tree.slurp(a) != tree.slurp(b) or os.stat(a).st_mode != os.stat(b).st_mode:
            sys.exit("FAIL  %s and %s were written the same and differ" % (a, b))


if __name__ == "__main__":
    {"seed": seed, "break": break_some, "check": check}[sys.argv[1]](*sys.argv[2:])
