"""Files that are being written while passes run: nobody loses a byte."""
import json
import mmap
import os
import random
import signal
import sys
import time

import cases
import tree
from cases import case, expect, expect_equal
from cli import FULL, command, new_pool, summary

TOP = sys.argv[1]
SECONDS = 100 if FULL else 6
FILES = 60
SIZE = 20_000


def original(i):
    return tree.noise(("original", i), SIZE)


def fill(pool):
    for i in range(FILES):
        pool.put_all("d%d/f%d" % (i % 5, i), original(i))


@case("a file that is open for writing is left alone")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        with open(pool.at("b/d0/f0"), "r+b") as f:
            s = pool.run()
            expect_equal((s["skipped"]["in_use"], s["linked"]), (1, 2 * FILES - 1))
            f.write(b"WRITTEN")
        expect_equal(tree.slurp(pool.at("b/d0/f0")), b"WRITTEN" + original(0)[7:])
        expect_equal(tree.slurp(pool.at("a/d0/f0")), original(0))
        pool.expect_private("b/d0/f0")


@case("a file that is mapped writable is left alone, though its descriptor is closed and its page dirty")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        with open(pool.at("b/d0/f0"), "r+b") as f:
            m = mmap.mmap(f.fileno(), SIZE)
        m[0] = m[0]
        os.utime(pool.at("b/d0/f0"), ns=(tree.OLD, tree.OLD))
        s = summary(pool.path)
        expect_equal((s["skipped"]["in_use"], s["linked"]), (1, 2 * FILES - 1))
        m[0:7] = b"WRITTEN"
        m.close()
        expect_equal(tree.slurp(pool.at("b/d0/f0")), b"WRITTEN" + original(0)[7:])
        expect_equal(tree.slurp(pool.at("a/d0/f0")), original(0))


@case("an object that somebody writes takes no more links")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content", guests="ab")
        pool.run()
        pool.put("c/f", b"content")
        with open(pool.at("a/f"), "r+b"):
            s = summary(pool.path)
            expect_equal(s["linked"], 0)
            pool.expect_private("c/f")


def private(fd):
    return os.fstat(fd).st_nlink == 1


def by_pwrite(path, content):
    fd = os.open(path, os.O_RDWR)
    try:
        if not private(fd):
            return False
        os.pwrite(fd, content[:SIZE // 2], 0)
        os.pwrite(fd, content[SIZE // 2:], SIZE // 2)
        os.utime(fd, ns=(tree.OLD, tree.OLD))
        return True
    finally:
        os.close(fd)


def by_append(path, content):
    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        if not private(fd):
            return False
        os.ftruncate(fd, 0)
        for at in range(0, SIZE, 5000):
            os.write(fd, content[at:at + 5000])
        os.utime(fd, ns=(tree.OLD, tree.OLD))
        return True
    finally:
        os.close(fd)


def by_mapping(path, content):
    fd = os.open(path, os.O_RDWR)
    try:
        if not private(fd):
            return False
        m = mmap.mmap(fd, SIZE)
    finally:
        os.close(fd)
    m[0] = content[0]
    os.utime(path, ns=(tree.OLD, tree.OLD))
    m[:] = content  # on a page that is dirty already: no time moves
    m.close()
    return True


def by_rename(path, content):
    # Natively, rename(2) of two links of one inode does nothing and leaves the old name.
    if os.path.exists(path + ".new"):
        os.unlink(path + ".new")
    with open(path + ".new", "xb") as f:
        f.write(content)
    os.utime(path + ".new", ns=(tree.OLD, tree.OLD))
    os.rename(path + ".new", path)
    return True


def by_unlink(path, content):
    os.unlink(path)
    tree.put(path, content)
    return True


METHODS = (by_pwrite, by_append, by_mapping, by_rename, by_unlink)


def writer(pool, number, count, until, report):
    """Owns every @count-th file of guest b; reports what it wrote last to each."""
    rng = random.Random(number)
    last = {}
    while time.monotonic() < until:
        i = rng.randrange(number, FILES, count)
        # Often the original again, so that there is always something to link.
        content = original(i) if rng.random() < 0.6 else tree.noise((number, rng.random()), SIZE)
        method = rng.choice(METHODS)
        path = pool.at("b/d%d/f%d" % (i % 5, i))
        if method(path, content) or (by_rename(path, content)):
            last[i] = (method.__name__, content.hex())
    with open(report, "w") as f:
        json.dump(last, f)


@case("guests that write while passes run find every byte")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        until = time.monotonic() + SECONDS
        pids = []
        for n in range(3):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    writer(pool, n, 3, until, "%s/report.%d" % (TOP, n))
                    status = 0
                finally:
                    os._exit(status)
            pids.append(pid)
        passes = linked = changed = 0
        while time.monotonic() < until:
            r = command("--json", pool.path)
            expect(r.returncode == 0, "status", r.returncode, r.stderr.decode(errors="replace"))
            s = json.loads(r.stdout)
            passes, linked = passes + 1, linked + s["linked"]
            changed += s["skipped"]["changed"] + s["skipped"]["in_use"]
        for pid in pids:
            expect_equal(os.waitpid(pid, 0)[1], 0, "status of a writer")

        wrong = []
        last = {}
        for n in range(3):
            last.update(json.load(open("%s/report.%d" % (TOP, n))))
            os.unlink("%s/report.%d" % (TOP, n))
        for i in range(FILES):
            method, wanted = last.get(str(i), ("never", original(i).hex()))
            if tree.slurp(pool.at("b/d%d/f%d" % (i % 5, i))).hex() != wanted:
                wrong.append("b/f%d, written %s" % (i, method))
            for g in "ac":
                if tree.slurp(pool.at(g, "d%d/f%d" % (i % 5, i))) != original(i):
                    wrong.append("%s/f%d" % (g, i))
        expect(not wrong, "wrong content:", ", ".join(wrong))
        expect(linked > 0, "nothing was linked meanwhile")
        print("      %d passes, %d links, %d files in use or changed" % (passes, linked, changed))


sys.exit(cases.run(None))
