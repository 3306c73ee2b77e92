"""More identical files than an inode can have names.

    limit.py TOP LIMIT [all]      all: by as many files, and not only by links made beside hashify
"""
import os
import subprocess
import sys

import cases
import tree
from cases import case, expect, expect_equal
from cli import constant, new_pool, summary

TOP, LIMIT = sys.argv[1], int(sys.argv[2])
COUNT = 70_000
ALL = "all" in sys.argv[3:]


def put_many(pool, guest, count):
    os.makedirs(pool.at(guest))
    for i in range(count):
        if i % 1000 == 0:
            d = os.open(pool.at(guest), os.O_RDONLY)
            os.mkdir("%d" % i, dir_fd=d)
            os.close(d)
        path = pool.at(guest, "%d/%d" % (i // 1000 * 1000, i))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, b"the same everywhere")
        os.utime(fd, ns=(tree.OLD, tree.OLD))
        os.close(fd)


def inodes(pool, guest):
    ret = {}
    for d, _, names in os.walk(pool.at(guest)):
        for n in names:
            st = os.lstat(os.path.join(d, n))
            ret[st.st_ino] = st.st_nlink
    return ret


def add_names(pool, guest, path, until):
    """Links of the inode at @path, as if passes had made them, until it has so many names."""
    count = until - os.lstat(path).st_nlink
    for i in range(count):
        if i % 1000 == 0:
            os.makedirs(pool.at(guest, "%d" % i))
        os.link(path, pool.at(guest, "%d/%d" % (i // 1000 * 1000, i)))


def expect_counts(s, linked, created, what):
    expect_equal((s["linked"], s["objects_created"], s["skipped"]["alone"], s["skipped"]["link"], s["errors"]), (linked, created, 0, 0, 0),
                 what)


def variants(pool):
    return sorted(pool.objects(), key=lambda o: int(o.rsplit("-", 1)[1], 16))


def names_of(path):
    return os.lstat(path).st_nlink


@case("an object that is full gets variants, and is refilled when names of it have gone")
def _(_):
    if LIMIT > COUNT:
        raise cases.NotHere("that many names take too long")
    with new_pool(TOP) as pool:
        put_many(pool, "a", 2)
        summary(pool.path)
        first, = variants(pool)
        add_names(pool, "first", first, LIMIT - 10)
        put_many(pool, "b", 300)
        os.sync()
        foretold = constant(summary("--dry-run", pool.path))
        s = summary(pool.path)
        expect_counts(s, 299, 1, "beyond the limit")
        expect_equal(constant(s), foretold, "a dry run foretold otherwise")
        first, second = variants(pool)
        expect_equal((names_of(first), names_of(second)), (LIMIT, 291), "names of the variants")

        add_names(pool, "second", second, LIMIT)
        for i in range(100):
            os.unlink(pool.at("first", "0/%d" % i))
        put_many(pool, "c", 100)
        s = summary(pool.path)
        expect_counts(s, 100, 0, "into the room that names which went away have left")
        expect_equal((names_of(first), names_of(second)), (LIMIT, LIMIT), "names of the variants")

        # An old variant of which all names have gone, and then it itself.
        subprocess.run(["rm", "-rf", *(pool.at(g) for g in ("a", "b", "c", "first"))], check=True)
        expect_equal(summary("gc", pool.path)["removed"], 1, "garbage")
        expect_equal(variants(pool), [second])
        put_many(pool, "d", 20)
        s = summary(pool.path)
        expect_equal((s["linked"] + s["objects_created"], s["errors"], s["objects_created"] <= 1), (20, 0, True))
        expect_equal(set(inodes(pool, "d")) - {os.lstat(o).st_ino for o in pool.objects()}, set(), "private files")
        expect(len(pool.objects()) <= 2, "variants:", *variants(pool))
        expect_counts(summary(pool.path), 0, 0, "a pass with nothing to do")


@case("70,000 identical files are all shared, over variants, as a dry run foretells")
def _(_):
    if not ALL:
        raise cases.NotHere("half a minute; in the full form")
    with new_pool(TOP) as pool:
        put_many(pool, "a", COUNT)
        os.sync()
        foretold = constant(summary("--dry-run", pool.path))
        s = summary(pool.path)
        wanted = -(-COUNT // (LIMIT - 1))  # the store's own name counts
        expect_counts(s, COUNT - wanted, wanted, "the first pass")
        expect_equal(constant(s), foretold, "a dry run foretold otherwise")
        found = inodes(pool, "a")
        expect_equal(len(found), wanted, "inodes")
        expect(all(n > 1 for n in found.values()), "a file was left private")

        s = summary(pool.path)
        expect_equal((s["already_linked"], s["linked"], s["objects_created"]), (COUNT, 0, 0))

        # Names that went away make room in an old variant again.
        full = max(found, key=found.get)
        gone = 0
        for i in range(COUNT):
            path = pool.at("a", "%d/%d" % (i // 1000 * 1000, i))
            if gone < 100 and os.lstat(path).st_ino == full:
                os.unlink(path)
                gone += 1
        put_many(pool, "b", 100)
        s = summary(pool.path)
        expect_equal((s["linked"], s["objects_created"]), (100, 0))
        expect_equal(summary("stat", pool.path)["variants"], wanted - 1)


sys.exit(cases.run(None))
