#!/usr/bin/env python3
"""Directories that are read, changed and read again, by one process and by several. Run by on_guests."""
import os
import subprocess
import sys
import threading

import guests
import kernel
import tree
from cases import case, expect, expect_equal

MANY = 3000


def seed(pool):
    for g in "abc":
        for n in ("one", "two", "three"):
            tree.put("%s/%s/d/%s" % (pool, g, n), tree.noise(n, 5000))
        tree.put("%s/%s/from/dir/x" % (pool, g), b"x" * 100)
        tree.put("%s/%s/to/y" % (pool, g), b"y" * 100)
        for i in range(MANY):
            tree.put("%s/%s/many/%s%04d" % (pool, g, "n" * 40, i), b"%d" % i)
            tree.put("%s/%s/breaking/%s%04d" % (pool, g, "b" * 40, i), b"%d" % (i % 10))
        tree.settle(pool + "/" + g)


def listed(d):
    """In this process, and as a new one sees it."""
    here = sorted(os.listdir(d))
    there = subprocess.run(["ls", "-A", d], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    expect_equal(here, sorted(there), d)
    expect_equal(here, sorted(os.listdir(d)), d)
    return here


@case("each change shows, whoever makes it")
def _(t):
    d = t.mounted("d")
    expected = {"one", "two", "three"}

    def check(what, less=(), more=()):
        expected.difference_update(less)
        expected.update(more)
        expect_equal(listed(d), sorted(expected), what)
    check("at first")
    tree.put(d + "/new", b"new")
    check("create", more=["new"])
    with open(d + "/one", "r+b") as f:
        f.write(b"changed")
    check("a break")
    os.rename(d + "/one", d + "/uno")
    check("rename", ["one"], ["uno"])
    os.rename(d + "/uno", d + "/two")
    check("rename over", ["uno"])
    os.link(d + "/three", d + "/drei")
    check("link", more=["drei"])
    os.symlink("x", d + "/sym")
    os.mkdir(d + "/sub")
    os.mkfifo(d + "/fifo")
    check("symlink, mkdir, mkfifo", more=["sym", "sub", "fifo"])
    os.unlink(d + "/new")
    os.rmdir(d + "/sub")
    check("unlink, rmdir", ["new", "sub"])
    os.rename(d + "/sym", t.mounted("sym"))
    check("moved away", ["sym"])
    os.rename(t.mounted("sym"), d + "/back")
    check("moved here", more=["back"])
    kernel.renameat2(d + "/drei", t.mounted("to/y"), kernel.RENAME_EXCHANGE)
    check("exchange")
    subprocess.run(["sh", "-c", "rm %s/fifo; touch %s/other" % (d, d)], check=True)
    check("another process", ["fifo"], ["other"])
    kernel.drop_caches()
    check("after drop_caches")


@case("a descriptor that is rewound shows what is there now")
def _(t):
    d = t.mounted("d")
    fd = os.open(d, os.O_RDONLY | os.O_DIRECTORY)
    before = sorted(os.listdir(fd))
    tree.put(d + "/later", b"later")
    expect_equal(sorted(os.listdir(fd)), sorted(before + ["later"]))
    os.unlink(d + "/later")
    expect_equal(sorted(os.listdir(fd)), before)
    os.close(fd)


@case("what nobody touches is listed once, while other names come and go")
def _(t):
    d = t.mounted("many")
    still = {n for n in os.listdir(d) if int(n[-4:]) % 3}
    stop = threading.Event()

    def churn():
        i = 0
        while not stop.is_set():
            i = (i + 3) % MANY
            name = "%s/%s%04d" % (d, "n" * 40, i)
            os.rename(name, name + ".moved")
            tree.put("%s/new%d" % (d, i), b"")
            os.rename(name + ".moved", name)
            os.unlink("%s/new%d" % (d, i))
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(30):
            got = [e.name for e in os.scandir(d)]
            expect_equal([n for n in got if n in still and got.count(n) > 1][:3] if len(set(got)) < len(got) else [], [], "twice")
            expect_equal(sorted(still.difference(got))[:3], [], "missing")
    finally:
        stop.set()
        thread.join()
    expect_equal(len(listed(d)), MANY)


@case("renaming each entry while it is listed comes to an end")
def _(t):
    d = t.mounted("many")
    seen = 0
    for e in os.scandir(d):
        seen += 1
        expect(seen < 3 * MANY, "no end")
        os.rename(e.path, e.path + "x")
    names = listed(d)
    expect_equal(len(names), MANY)
    for n in names:
        os.rename("%s/%s" % (d, n), "%s/%s" % (d, n.rstrip("x")))


@case("what is broken while its directory is listed stays in the list, with its number")
def _(t):
    d = t.mounted("breaking")
    kernel.drop_caches()
    names = os.listdir(t.native("breaking"))
    entries = os.scandir(d)
    seen = [next(entries)]
    for n in names[-3:]:
        os.close(os.open(d + "/" + n, os.O_RDWR))
    seen += list(entries)
    expect_equal(sorted(e.name for e in seen), sorted(names))
    expect_equal(listed(d), sorted(names))


@case("who goes on with a listing after its next name has gone misses nothing else")
def _(t):
    d = t.mounted("many")
    kernel.drop_caches()
    names = os.listdir(d)  # the kernel gives the other stream what it has of this
    fd = os.open(d, os.O_RDONLY | os.O_DIRECTORY)
    seen = kernel.getdents(fd) + kernel.getdents(fd)
    gone = next(n for n in names if n not in seen)
    os.unlink(d + "/" + gone)
    expect_equal(len(os.listdir(d)), len(names) - 1)
    while more := kernel.getdents(fd):
        seen += more
    os.close(fd)
    tree.put(d + "/" + gone, b"")
    expect_equal(sorted(set(names) - set(seen) - {gone})[:3], [], "missing")
    expect_equal(len(seen), len(set(seen)), "twice")


@case("numbers stay while links are broken and their directory is listed")
def _(t):
    d = t.mounted("breaking")
    kernel.drop_caches()
    numbers = {e.name: e.inode() for e in os.scandir(d)}
    done = threading.Event()
    wrong = []

    def look(number):
        while not done.is_set():
            tree.put(d + "/.new%d" % number, b"")  # what the kernel has of the directory is out of date
            os.unlink(d + "/.new%d" % number)
            for e in os.scandir(d):
                if e.name in numbers and (e.inode() != numbers[e.name] or e.stat().st_ino != numbers[e.name]):
                    wrong.append(e.name)
    lookers = [threading.Thread(target=look, args=(i,)) for i in range(2)]
    for thread in lookers:
        thread.start()
    try:
        for n in numbers:
            fd = os.open(d + "/" + n, os.O_RDWR | os.O_APPEND)
            os.write(fd, b"more")
            got, held = os.stat(d + "/" + n), os.fstat(fd)
            os.close(fd)
            expect_equal((got.st_ino, held.st_ino, got.st_size), (numbers[n], numbers[n], held.st_size), n)
    finally:
        done.set()
        for thread in lookers:
            thread.join()
    expect_equal(wrong[:3], [], "listed with another number")
    t.expect_others_untouched("breaking/%s0001" % ("b" * 40))


@case("a directory that was moved has .. of where it is, and lists that number from its next change on")
def _(t):
    old, new = t.mounted("from"), t.mounted("to")

    def listed_parent(d):
        fd = os.open(d, os.O_RDONLY)
        try:
            return dict(kernel.dirents(fd))[".."]
        finally:
            os.close(fd)
    expect_equal(listed_parent(old + "/dir"), os.lstat(old).st_ino)
    os.rename(old + "/dir", new + "/dir")
    expect_equal(os.lstat(new + "/dir/..").st_ino, os.lstat(new).st_ino)
    tree.put(new + "/dir/new", b"new")
    expect_equal(listed_parent(new + "/dir"), os.lstat(new).st_ino)


if __name__ == "__main__":
    sys.exit(guests.main(seed))
