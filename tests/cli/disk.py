"""An error of writing back leaves pages in memory that the disk has not, and tells nobody who asks later. Here the disk loses what
it had: to whoever reads, the same."""
import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import tempfile
import time

import cases
import tree
from cases import NotHere, case, expect, expect_equal
from cli import command, new_pool, shared_pool, summary, sync
from kernel import KEEP_SIZE, PUNCH_HOLE, drop_caches, fallocate, undisturbed

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


def tell_of_failure(pool):
    """As a pass notes it that was told of an error of writing back."""
    summary(pool.path)
    os.utime(pool.at(".hash/write-failed"))


def lose_mark(pool):
    """As after a restore of some files: one object has none, and its directory has changed."""
    shard = os.path.dirname(pool.objects()[0])
    os.removexattr(pool.objects()[0], "trusted.hashfs.object")
    os.mkdir(shard + "/new")
    os.rmdir(shard + "/new")


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
            os.mkdir(pool.at("a"))
            tell_of_failure(pool)
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
        tell_of_failure(pool)
        lose(pool.at("a/f"))
        pool.put("b/f", CONTENT)
        sync(pool.path)
        s = summary(pool.path, status=1)
        expect_equal((s["skipped"]["disk"], s["linked"]), (1, 0))
        pool.expect_private("a/f", "b/f")
        expect_content(pool, "b/f")


@contextlib.contextmanager
def failing_filesystem():
    """An ext4 in a file on a tmpfs, and a function that lets writing a file's first block to it fail."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as top, contextlib.ExitStack() as stack:
        def mount(*args):
            subprocess.run(["mount", *args], check=True)
            stack.callback(subprocess.run, ["umount", "-d", args[-1]], check=True)
        memory, mnt = top + "/memory", top + "/mnt"
        os.mkdir(memory)
        os.mkdir(mnt)
        mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", memory)
        with open(memory + "/image", "wb") as f:
            f.write(bytes(48 << 20))
        subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", memory + "/image"],
                       check=True)
        with open(memory + "/image", "r+b") as f:  # which mkfs has made holes in
            image = f.read()
            f.seek(0)
            f.write(image)
        mount("-o", "loop,nodiscard", memory + "/image", mnt)

        def fail(path, content):
            """@content, of one block, is in memory in the file's place, and was not written."""
            sync(path)
            with open(path, "rb") as f:
                at, = struct.unpack("i", fcntl.ioctl(f.fileno(), FIBMAP, struct.pack("i", 0)))
            size = os.statvfs(path).f_bsize
            with open(memory + "/image", "r+b") as f:
                fallocate(f.fileno(), KEEP_SIZE | PUNCH_HOLE, at * size, size)
            with open(memory + "/full", "wb", buffering=0) as f:
                try:
                    while f.write(bytes(4096)):
                        pass
                except OSError:
                    pass
            with open(path, "r+b") as f:
                f.write(content)
            os.utime(path, ns=(tree.OLD, tree.OLD))
            os.sync()
            os.unlink(memory + "/full")
        yield mnt, fail


@case("an error of writing back is remembered until the machine is started again, whoever was told of it")
@undisturbed
def _(_):
    if subprocess.check_output(["stat", "-f", "-c", "%T", TOP]) != b"ext2/ext3\n":
        raise NotHere("once is enough")
    content = CONTENT[:4096]
    for told in ("the pass", "somebody else", "who gives back marks"):
        with failing_filesystem() as (mnt, fail), new_pool(mnt) as pool:
            os.mkdir(pool.at("a"))
            os.mkdir(pool.at("b"))
            pool.put_all("other", b"x" * 5000, guests="ab")
            pool.settle()
            if told == "somebody else":  # a store of before passes made the note beforehand
                summary("--sync=none", pool.path)
                expect(not os.path.exists(pool.at(".hash/write-failed")), "made where nothing is flushed")
            summary(pool.path)
            note = os.stat(pool.at(".hash/write-failed"))
            expect_equal(note.st_mtime_ns, 0, "nothing has failed")
            pool.put("a/f", CONTENT[4096:8192])
            pool.put("b/f", content)
            pool.settle()
            sync(mnt)
            fail(pool.at("a/f"), content)
            if told == "who gives back marks":
                lose_mark(pool)
            if told != "somebody else":  # it ends at once
                r = command("--no-default-excludes", pool.path)
                expect(r.returncode == 2 and b"ended early" in r.stderr, told, r.returncode, r.stderr)
            else:
                subprocess.run(["sync", "-f", mnt], stderr=subprocess.DEVNULL)
            for _ in range(3):  # the first is told of the file's own error
                s = summary(pool.path, status=1)
                expect_equal((s["skipped"]["disk"], s["errors"], s["linked"], s["objects_created"]), (1, 1, 0, 0), told)
            now = os.stat(pool.at(".hash/write-failed"))
            expect_equal(now.st_ino, note.st_ino, "the note, which a full disk would have no room for")
            expect(now.st_mtime > time.time() - 600, "not noted:", told)
            drop_caches()
            with open(pool.at("b/f"), "rb") as f:
                expect_equal(f.read(), content, "b/f")


@case("nor an object that a pass without sync has made")
@undisturbed
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", CONTENT, guests="ab")
        pool.settle()
        expect_equal(summary("--sync=none", pool.path)["linked"], 1)
        tell_of_failure(pool)
        lose(pool.at("a/f"))
        os.mkdir(pool.at("c"))
        pool.put("c/f", CONTENT)
        sync(pool.at("c/f"))
        for _ in range(2):
            s = summary(pool.path, status=1)
            expect_equal((s["linked"], s["bad_objects"]), (0, 1))
        pool.expect_private("c/f")
        with open(pool.at("c/f"), "rb") as f:
            expect_equal(f.read(), CONTENT, "c/f")


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
