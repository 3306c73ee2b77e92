"""Names and paths of every kind."""
import json
import os
import sys

import cases
import tree
from cases import case, expect, expect_equal
from cli import command, new_pool, summary

TOP = sys.argv[1]
NAMES = [b"n" * 255, b"new\nline", b"\xff\xfe\x80", b" ", b"-n", b"*", b"\x1b[31mred", b"'\"\\", "ü€𝄞".encode(), "\u061c\x9b31m".encode(), b"...",
         b".hash", b"a" * 254 + b"\n"]


@case("files with names of every kind are shared")
def _(_):
    with new_pool(TOP) as pool:
        for n, name in enumerate(NAMES):
            for g in (b"a", b"b", b"c"):
                tree.put(os.fsencode(pool.path) + b"/" + g + b"/f/" + name, b"file %d" % n)
                tree.put(os.fsencode(pool.path) + b"/" + g + b"/d/" + name + b"/f", b"dir %d" % n)
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"]), (2 * len(NAMES), 4 * len(NAMES)))


@case("what is said of a hostile name shows no control character and is valid UTF-8")
def _(_):
    with new_pool(TOP) as pool:
        for n, name in enumerate(NAMES):
            tree.put(os.fsencode(pool.path) + b"/a/" + name, b"")
        r = command("-v", "--dry-run", pool.path)
        expect_equal(r.returncode, 0)
        said = r.stderr.decode("utf-8")
        expect_equal(len(said.splitlines()), len(NAMES), "lines")
        expect(all(c == "\n" or c.isprintable() for c in said), "a control character was printed")


@case("nor does what is said of the pool itself, or in JSON")
def _(_):
    for odd in ("\x9b31m", "\u061c", "\u202e", "\x7f", "\udcff\udc9b"):
        r = command("--json", TOP + "/none" + odd)
        expect_equal(r.returncode, 2)
        for said in (r.stderr.decode("utf-8"), r.stdout.decode("utf-8")):
            expect(all(c == "\n" or c.isprintable() for c in said), repr(odd), "was printed:", repr(said))
    with new_pool(TOP, "po\x9b\u061c\u202e\xa0ol") as pool:
        pool.put("a/f", b"content")
        r = command("--json", pool.path)
        expect(r.stdout.decode("utf-8").rstrip("\n").isprintable(), r.stdout)
        expect_equal(json.loads(r.stdout)["pool"], pool.path)


def descend(path, name, depth, leaf):
    """Makes @depth directories below each other, with @leaf(directory fd) in the last."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    leaf(fd)
    return fd


def put_at(fd, name, content):
    f = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=fd)
    os.write(f, content)
    os.close(f)
    os.utime(name, ns=(tree.OLD, tree.OLD), dir_fd=fd)


def expect_shared_at_depth(pool, name, depth):
    fds = []
    for g in "ab":
        os.mkdir(pool.at(g))
        fds.append(descend(pool.at(g), name, depth, lambda fd: put_at(fd, "f", b"deep content")))
    before = [os.fstat(fd).st_mtime_ns for fd in fds]
    s = summary("--dry-run", pool.path)
    expect_equal(s["linked"], 1, "foretold")
    s = summary(pool.path)
    expect_equal((s["objects_created"], s["linked"], s["directories"]), (1, 1, 2 * depth + 2))
    inodes = {os.stat("f", dir_fd=fd).st_ino for fd in fds}
    expect_equal(len(inodes), 1, "inodes")
    expect_equal([os.fstat(fd).st_mtime_ns for fd in fds], before, "mtime of the directories")
    for fd in fds:
        os.close(fd)
    expect_equal(summary(pool.path)["already_linked"], 2)


@case("directories 10,000 deep are walked to the end")
def _(_):
    with new_pool(TOP) as pool:
        expect_shared_at_depth(pool, "d", 10_000)


@case("a file more than 10,240 directories deep is left alone")
def _(_):
    with new_pool(TOP) as pool:
        for g in "ab":
            os.mkdir(pool.at(g))
            os.close(descend(pool.at(g), "d", 10_240, lambda fd: put_at(fd, "f", b"deep content")))
        expect_equal(summary(pool.path)["skipped"]["deep"], 2)


@case("paths of 60,000 bytes are handled")
def _(_):
    with new_pool(TOP) as pool:
        expect_shared_at_depth(pool, "d" * 250, 240)


@case("a comb of 2,000 levels with a file on each is walked and shared")
def _(_):
    with new_pool(TOP) as pool:
        for g in "ab":
            os.mkdir(pool.at(g))
            fd = os.open(pool.at(g), os.O_RDONLY | os.O_DIRECTORY)
            for i in range(2000):
                put_at(fd, "f", b"content of level %d" % i)
                os.mkdir("a", dir_fd=fd)
                os.mkdir("z", dir_fd=fd)
                below = os.open("z" if i % 2 else "a", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
            os.close(fd)
        s = summary(pool.path)
        expect_equal((s["objects_created"], s["linked"], s["directories"]), (2000, 2000, 2 * 4001))


sys.exit(cases.run(None))
