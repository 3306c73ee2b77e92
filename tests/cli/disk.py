"""An error of writing back leaves pages in memory that the disk has not, and tells nobody who asks later. Here the disk loses what
it had: to whoever reads, the same."""
import fcntl
import os
import struct
import sys

import cases
import tree
from cases import case, expect, expect_equal
from cli import new_pool, shared_pool, summary, sync
from kernel import drop_caches, undisturbed

TOP = sys.argv[1]
FIBMAP = 1
CONTENT = tree.noise(1, 150_000)


def image_of(path):
    """The file that the filesystem of @path lies in."""
    dev = os.stat(path).st_dev
    with open("/sys/dev/block/%d:%d/loop/backing_file" % (os.major(dev), os.minor(dev))) as f:
        return f.read().rstrip("\n")


def lose(path, block=0):
    """The disk has something else in this block of the file @path; what is in memory stays."""
    sync(path)
    with open(path, "rb") as f:
        f.read()
        at, = struct.unpack("i", fcntl.ioctl(f.fileno(), FIBMAP, struct.pack("i", block)))
    size = os.statvfs(path).f_bsize
    with open(image_of(path), "r+b") as f:
        os.pwrite(f.fileno(), b"lost" * (size // 4), at * size)
        os.fsync(f.fileno())


def expect_content(pool, *rels):
    drop_caches()
    for rel in rels:
        with open(pool.at(rel), "rb") as f:
            expect_equal(f.read(), CONTENT, rel)


@case("a file that is lost, but for memory, does not stand in for those that are not")
@undisturbed
def _(_):
    for content_size in (10, len(CONTENT)):
        with new_pool(TOP) as pool:
            pool.put_all("f", CONTENT[:content_size], guests="abc")
            pool.settle()
            lose(pool.at("a/f"), content_size // 2 // 4096)
            s = summary(pool.path, status=1)
            expect_equal((s["skipped"]["disk"], s["errors"], s["linked"]), (1, 1, 1))
            pool.expect_private("a/f")
            pool.expect_linked("b/f", "c/f")
            # What memory still has of it is what the others have on the disk.
            expect_equal(summary(pool.path)["linked"], 1)
            pool.expect_linked("a/f", "b/f")
            drop_caches()
            for g in "abc":
                with open(pool.at(g, "f"), "rb") as f:
                    expect_equal(f.read(), CONTENT[:content_size], g)


@case("nor one whose equal comes later")
@undisturbed
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/f", CONTENT)
        summary(pool.path)
        lose(pool.at("a/f"))
        pool.put("b/f", CONTENT)
        sync(pool.path)
        s = summary(pool.path, status=1)
        expect_equal((s["skipped"]["disk"], s["linked"]), (1, 0))
        pool.expect_private("a/f", "b/f")
        expect_content(pool, "b/f")


@case("verify reads the disk, also where memory has the object")
@undisturbed
def _(_):
    with shared_pool(TOP, f=CONTENT, g=b"another content") as pool:
        expect_equal(summary("verify", pool.path)["damaged"], 0)
        lose(pool.at("b/f"), 20)
        foretold = summary("verify", "-n", pool.path, status=1)
        s = summary("verify", pool.path, status=1)
        for found in (foretold, s):
            expect_equal([(f["damage"], f["names"]) for f in found["findings"]], [(["disk"], ["a/f", "b/f", "c/f"])])
        with open(pool.at("a/f"), "rb") as f:  # as it is in memory still, whoever wants to save it can
            expect_equal(f.read(), CONTENT)
        drop_caches()
        with open(pool.at("a/f"), "rb") as f:
            expect(f.read() != CONTENT, "the test lost nothing")


@case("what is only in memory as yet is written, and not taken for lost")
@undisturbed
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", CONTENT)
        expect_equal(summary(pool.path)["linked"], 2)
        expect_equal(summary("verify", pool.path)["damaged"], 0)
        expect_content(pool, "a/f", "b/f", "c/f")


sys.exit(cases.run(None))
