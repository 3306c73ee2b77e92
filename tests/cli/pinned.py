"""A direct read into a mapping goes on writing to the file's pages when the mapping and all descriptors are gone. No lease tells of
it, so what such a file becomes must not be what others share."""
import contextlib
import ctypes
import mmap
import os
import signal
import subprocess
import sys
import threading

import cases
import tree
from cases import NotHere, case, expect, expect_equal, expect_soon
from cli import HASHIFY, mounted, new_pool, preloaded, summary, sync
from kernel import cached_pages, drop_caches, pages_there

TOP = sys.argv[1]
KIND = sys.argv[2]
HASHFS = os.environ["HASHFS"]
PAGE = 4096
CONTENT = tree.noise("shared", 20 * PAGE)
LATE = b"L" * PAGE
NAMELESS = "/.hash/tmp/#"  # what /proc calls a copy

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.pread.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
_libc.pread.restype = ctypes.c_ssize_t


class SlowFile:
    """A file with the content LATE, of a FUSE filesystem that answers when it is told to."""

    def __init__(self, top):
        self.pool, self.mnt = os.path.join(top, "slow-pool"), os.path.join(top, "slow")
        os.mkdir(self.pool)
        os.mkdir(self.mnt)
        tree.put(os.path.join(self.pool, "guest/late"), LATE)
        summary(self.pool)
        self.daemon = subprocess.Popen([HASHFS, "-f", "-o", "passthrough=no", self.pool, self.mnt],
                                       stderr=subprocess.DEVNULL)
        expect_soon(lambda: os.path.ismount(self.mnt), "the slow filesystem is not there")
        self.fd = os.open(os.path.join(self.mnt, "guest/late"), os.O_RDONLY | os.O_DIRECT)
        self.daemon.send_signal(signal.SIGSTOP)
        os.waitpid(self.daemon.pid, os.WUNTRACED)
        self.reader = self.got = None
        self.over = os.path.join(self.pool, "late-read-is-over")

    def read_to(self, address):
        """Begins to read to @address, and returns when its pages are held."""
        self.reader = threading.Thread(target=self._read, args=(address,))
        self.reader.start()
        expect_soon(lambda: "fuse" in self._stack(), "the late read has not begun")

    def _stack(self):
        return tree.slurp("/proc/self/task/%d/stack" % self.reader.native_id).decode()

    def _read(self, address):
        self.got = _libc.pread(self.fd, address, PAGE, 0)
        tree.put(self.over, b"")

    def command_to_answer(self):
        """A shell command that has the read answered, and ends when it is over."""
        return "kill -CONT %d; timeout 20 sh -c 'until [ -e %s ]; do sleep 0.01; done'" % (self.daemon.pid, self.over)

    def answer(self):
        self.daemon.send_signal(signal.SIGCONT)
        if self.reader:
            self.reader.join()
            self.reader = None

    def close(self):
        self.answer()
        os.close(self.fd)
        subprocess.run(["umount", self.mnt], check=True)
        self.daemon.wait()
        os.rmdir(self.mnt)
        subprocess.run(["rm", "-r", self.pool], check=True)


@contextlib.contextmanager
def slow_file():
    if not os.path.exists("/dev/fuse"):
        raise NotHere("no /dev/fuse")
    slow = SlowFile(TOP)
    try:
        yield slow
    finally:
        slow.close()


def hold_page(slow, path):
    """Has the fourth page of the file filled by @slow some day, and leaves nothing else that tells of it."""
    fd = os.open(path, os.O_RDWR)
    address = _libc.mmap(None, len(CONTENT), mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    slow.read_to(address + 3 * PAGE)
    expect_equal(_libc.munmap(address, len(CONTENT)), 0, "munmap")


def expect_late_write_stays_private(pool, served=False):
    with slow_file() as slow:
        # The file that a pass would take for the object.
        guest = min("abc", key=lambda g: pool.inode(g + "/f"))
        with mounted(pool.path, os.path.join(TOP, "mnt")) if served else contextlib.nullcontext(pool.path) as root:
            hold_page(slow, os.path.join(root, guest, "f"))
        for g in "abc":
            os.utime(pool.at(g, "f"), ns=(tree.OLD, tree.OLD))
        with open(pool.at(guest, "f"), "rb") as original:
            summary(pool.path, "--sync=none")
            summary(pool.path)
            slow.answer()
            expect_equal(slow.got, PAGE, "what the late read got")
            # The write that must not be seen by others did take place.
            expect_equal(os.pread(original.fileno(), PAGE, 3 * PAGE), LATE)
            os.fsync(original.fileno())
        others = [g + "/f" for g in "abc" if g != guest]
        drop_caches()
        for rel in others:
            expect(tree.slurp(pool.at(rel)) == CONTENT, "the late write is seen in", rel)
        pool.expect_linked(*others)
        expect_equal(summary("verify", pool.path)["damaged"], 0, "damaged objects")


def mapped(path):
    """A program that has the file mapped, which must be copied so."""
    with open(path, "rb") as f:
        m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    expect(len(m[:]) > 0, "nothing in", path)
    return m


def fill_but(room):
    sync(TOP)  # ext4 gives what was removed back with a commit
    with open(os.path.join(TOP, "filling"), "wb") as f:
        with contextlib.suppress(OSError):
            for at in range(0, 1 << 40, 1 << 20):
                os.posix_fallocate(f.fileno(), at, 1 << 20)
        f.truncate(os.fstat(f.fileno()).st_size - room)


@case("a read that is under way into a mapping that is gone writes to no file that others share")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", CONTENT)
        pool.settle()
        expect_late_write_stays_private(pool)


@case("neither does one into a mapping of a file in passthrough, whose mount is gone, too")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", CONTENT)
        pool.settle()
        summary(pool.at(), "--min-size=1G")  # now it has a store
        expect_late_write_stays_private(pool, served=True)


@case("nor does one that ends when a pass has compared the two files, and is about to make one the object")
def _(_):
    small = CONTENT[: 4 * PAGE]  # what is kept of it in memory is not read again
    with new_pool(TOP) as pool, slow_file() as slow:
        pool.put("a/f", small)
        pool.put("a/twin", small)  # behind it, as inodes go
        hold_page(slow, pool.at("a/f"))
        os.utime(pool.at("a/f"), ns=(tree.OLD, tree.OLD))
        env = preloaded(FAULT_CALL="sync_file_range", FAULT_AT="/a/f", FAULT_RUN=slow.command_to_answer())
        subprocess.run([HASHIFY, "-q", "--jobs=1", "--no-default-excludes", pool.path], env=env, check=True)
        expect_equal(slow.got, PAGE, "what the late read got, before the pass ended")
        slow.answer()
        expect(tree.slurp(pool.at("a/twin")) == small, "the late write is seen in the other file")
        expect(tree.slurp(pool.at("a/f")) == small[: 3 * PAGE] + LATE, "the late write is lost")
        pool.expect_private("a/f", "a/twin")
        expect_equal(summary("verify", pool.path)["damaged"], 0, "damaged objects")


@case("nor does one that ends in a clone's blocks, of which the file was made")
def _(_):
    if KIND not in ("xfs", "btrfs"):
        raise NotHere("no clones")
    with new_pool(TOP) as pool, slow_file() as slow:
        pool.put("a/source", CONTENT)
        pool.settle()
        hold_page(slow, pool.at("a/source"))
        with open(pool.at("a/source"), "rb") as source:
            subprocess.run(["cp", "--reflink=always", pool.at("a/source"), pool.at("a/f")], check=True)
            pool.put("a/twin", CONTENT)
            for rel in ("a/f", "a/twin"):
                os.chmod(pool.at(rel), 0o600)
                os.utime(pool.at(rel), ns=(tree.OLD, tree.OLD))
            summary(pool.path)
            pool.expect_linked("a/f", "a/twin")
            slow.answer()
            with contextlib.suppress(OSError):  # btrfs may refuse to write such a page
                os.fsync(source.fileno())
        drop_caches()
        expect(tree.slurp(pool.at("a/twin")) == CONTENT, "the late write is seen in the others")


@case("what running programs have mapped is shared all the same, by a copy that nothing tells from the original")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", CONTENT, mode=0o751, xattrs={"user.colour": b"red"})
        with open(pool.put("a/holes", b""), "r+b") as f:
            f.truncate(1 << 20)
            os.pwrite(f.fileno(), CONTENT * 6, 1 << 19)
        for g in "bc":
            subprocess.run(["cp", "-a", "--sparse=always", pool.at("a/holes"), pool.at(g)], check=True)
        pool.settle()
        maps = []
        for rel in ("a/f", "b/f", "c/f", "a/holes", "b/holes", "c/holes"):
            with open(pool.at(rel), "rb") as f:
                maps.append(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ))
            expect(maps[-1].rfind(CONTENT) >= 0, "no content in", rel)
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"], s["errors"]), (2, 4, 0))
        for name in ("f", "holes"):
            pool.expect_linked("a/" + name, "b/" + name, "c/" + name)
        expect(os.stat(pool.at("a/holes")).st_blocks < 1500, "the copy is dense")
        expect_equal({m[:16] for m in maps[:3]}, {CONTENT[:16]}, "what the programs see")
        s = summary(pool.path)
        expect_equal((s["objects_created"], s["linked"], s["already_linked"]), (0, 0, 6))


@case("without room for a copy a file stays as it is, and one that needs none is shared")
def _(_):
    if KIND != "ext4":
        raise NotHere("a clone needs no room; on tmpfs all are copies")
    with new_pool(TOP) as pool:
        large = tree.noise("large", 8 << 20)
        pool.put_all("large", large)
        pool.put_all("other", large[::-1], guests="ab")
        pool.settle()
        maps = [mapped(pool.at(rel)) for rel in ("a/large", "a/other", "b/other")]
        fill_but(4 << 20)
        # What goes gives no room, as it is still open.
        held = [open(pool.at(g, "large"), "rb") for g in "bc"]
        try:
            # Nothing is written that cannot be finished: guests write here, too.
            never = preloaded(FAULT_CALL="pwrite", FAULT_AT=NAMELESS, FAULT_RUN="false")
            s = summary(pool.path, status=1, env=never)
            pool.expect_private("a/large", "a/other", "b/other")
            pool.expect_linked("b/large", "c/large")
            expect(s["skipped"]["link"] >= 2, "skipped", s["skipped"])
            expect_equal(os.listdir(pool.at(".hash/tmp")), [], "left in tmp/")
            for g in "abc":
                expect(tree.slurp(pool.at(g, "large")) == large, "the content has changed in", g)
        finally:
            os.remove(os.path.join(TOP, "filling"))
            for f in held:
                f.close()
        summary(pool.path)
        pool.expect_linked("a/large", "b/large", "c/large")
        pool.expect_linked("a/other", "b/other")


@contextlib.contextmanager
def pool_to_copy_in():
    """A pool with two equal files, of which the first in a pass is to be copied, byte by byte."""
    if KIND == "btrfs":
        raise NotHere("copies are clones")
    with new_pool(TOP) as pool:
        for rel in ("a/large", "a/twin"):  # behind it, as inodes go
            pool.put(rel, tree.noise("large", 8 << 20))
        pool.settle()
        held = mapped(pool.at("a/large"))
        yield pool
        held.close()


@case("who wants to write to a file does not wait for the copy that it was to be a link to")
def _(_):
    for rel in ("a/large", "a/twin"):
        with pool_to_copy_in() as pool:
            writer = "(: >> '%s') & until grep -q 'LEASE *BREAKING' /proc/locks; do sleep 0.01; done" % pool.at(rel)
            s = summary(pool.path, "--jobs=1", env=preloaded(FAULT_CALL="fdatasync", FAULT_AT=NAMELESS, FAULT_RUN=writer))
            expect_equal((s["objects_created"], s["linked"], s["errors"]), (0, 0, 0))
            pool.expect_private("a/large", "a/twin")
            expect(s["skipped"]["in_use"] > 0, "skipped", s["skipped"])
            expect_equal(os.listdir(pool.at(".hash/tmp")), [], "left in tmp/")
            summary(pool.path)
            pool.expect_linked("a/large", "a/twin")


@case("a file that is truncated while it is copied has changed, and is no error")
def _(_):
    with pool_to_copy_in() as pool:
        truncate = "env -u LD_PRELOAD %s -c \"import os; os.open('%s', os.O_RDONLY | os.O_TRUNC)\"" % (
            sys.executable, pool.at("a/large"))
        s = summary(pool.path, "--jobs=1", env=preloaded(FAULT_CALL="pwrite", FAULT_AT=NAMELESS, FAULT_RUN=truncate))
        expect_equal((s["objects_created"], s["errors"]), (0, 0))
        expect(s["skipped"]["changed"] > 0, "skipped", s["skipped"])
        expect_equal(os.stat(pool.at("a/large")).st_size, 0)


@case("a copy is on the disk before it takes the place of a file that was, whatever --sync says")
def _(_):
    with pool_to_copy_in() as pool:
        flushed = os.path.join(TOP, "flushed")
        summary(pool.path, "--sync=none", env=preloaded(FAULT_CALL="fdatasync", FAULT_AT=NAMELESS, FAULT_RUN="touch " + flushed))
        pool.expect_linked("a/large", "a/twin")
        os.remove(flushed)


@case("what was in memory before it became an object is there afterwards")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", CONTENT, guests="ab")
        pool.settle()
        drop_caches()
        for g in "ab":
            tree.slurp(pool.at(g, "f"))
        summary(pool.path)
        pool.expect_linked("a/f", "b/f")
        expect_equal(sum(pages_there(pool.at("a/f"))), len(CONTENT) // PAGE, "pages in memory")


sys.exit(cases.run(None))
