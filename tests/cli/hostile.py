"""Guests that swap names while passes run, and guests that plant a store or marks of their own."""
import fcntl
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time

import cases
import inventory
import kernel
import tree
from cases import case, expect, expect_equal
from cli import FULL, HASHIFY, command, expect_same, new_pool, summary

TOP = sys.argv[1]
SECONDS = 60 if FULL else 7
HANG = 60  # seconds; a pass over these trees takes a tenth of one
DIRS, FILES = 6, 12
NOBODY = 65534
SEED = int(os.environ.get("TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)


def content(d, f):
    return tree.noise((d, f), 3000)


def fill(path):
    for d in range(DIRS):
        for f in range(FILES):
            tree.put("%s/d%d/f%d" % (path, d, f), content(d, f))


class Outside:
    """A tree beside the pool, whose files are like those of the guests: a pass that gets there links them."""

    def __init__(self):
        self.path = os.path.join(TOP, "outside")
        fill(self.path)
        os.mkfifo(self.path + "/fifo")
        os.sync()
        self.before = self.look()

    def look(self):
        ret = {}
        for rel in inventory.walk(self.path):
            path = os.path.join(self.path, rel)
            st = os.lstat(path)
            ret[rel] = (st.st_ino, st.st_nlink, st.st_ctime_ns, st.st_mtime_ns, os.listxattr(path, follow_symlinks=False))
        return ret

    def expect_untouched(self):
        expect_same(self.before, self.look(), "a pass has left the pool and changed")

    def remove(self):
        shutil.rmtree(self.path)


def plant(guest, outside):
    """Beside each directory and file of @guest what will be swapped with it."""
    os.makedirs(guest + "/bait/deep/er/still")
    os.mkdir(guest + "/mnt")
    os.symlink(outside, guest + "/bait/out")
    for d in range(DIRS):
        os.symlink("%s/d%d" % (outside, d), "%s/bait/dir%d" % (guest, d))
        os.symlink("../" * 30 + outside.lstrip("/") + "/d%d" % d, "%s/bait/relative%d" % (guest, d))
        os.symlink("../d%d" % d, "%s/bait/deep/er/still/d%d" % (guest, d))
    for f in range(FILES):
        os.symlink("%s/d0/f%d" % (outside, f), "%s/bait/link%d" % (guest, f))
        os.mkfifo("%s/bait/fifo%d" % (guest, f))
        os.mknod("%s/bait/null%d" % (guest, f), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mkdir("%s/bait/is-a-dir%d" % (guest, f))


def swap_twice(a, b):
    kernel.renameat2(a, b, kernel.RENAME_EXCHANGE)
    kernel.renameat2(a, b, kernel.RENAME_EXCHANGE)


def swap_directory(guest, rng, _):
    d = rng.randrange(DIRS)
    what = rng.choice(("dir%d", "relative%d", "deep/er/still/d%d"))
    swap_twice("%s/d%d" % (guest, d), guest + "/bait/" + what % d)


def swap_with_outside(guest, rng, _):
    """Everything at once, from the top."""
    swap_twice("%s/d%d" % (guest, rng.randrange(DIRS)), guest + "/bait/out")


def swap_file(guest, rng, _):
    f = rng.randrange(FILES)
    what = rng.choice(("link%d", "fifo%d", "null%d", "is-a-dir%d"))
    swap_twice("%s/d0/f%d" % (guest, f), guest + "/bait/" + what % f)


def move_directory(guest, rng, _):
    """What is below it has another ".." for a while."""
    here, there = "%s/d%d" % (guest, rng.randrange(DIRS)), guest + "/bait/deep/er/moved"
    os.rename(here, there)
    os.rename(there, here)


def cover(guest, _, outside):
    """For a moment another tree is mounted in the guest, of the same filesystem or of another."""
    for what in (["--bind", outside], ["-t", "tmpfs", "tmpfs"]):
        subprocess.run(["mount", *what, guest + "/mnt"], check=True)
        subprocess.run(["umount", "-l", guest + "/mnt"], check=True)  # a pass may be just looking at it


def copy_anew(guest, rng, _):
    """So that there is always something to link."""
    d, f = rng.randrange(1, DIRS), rng.randrange(FILES)
    path = "%s/d%d/f%d" % (guest, d, f)
    os.unlink(path)
    tree.put(path, content(d, f))


SWAPPERS = ((swap_directory, swap_with_outside, swap_file, move_directory), (cover,), (copy_anew,))


def swapper(kinds, guest, outside, seed):
    """A child process that swaps until it is told to stop, and leaves the tree as it was."""
    stop = []
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
        rng = random.Random(seed)
        while not stop:
            rng.choice(kinds)(guest, rng, outside)
        status = 0
    finally:
        if status:
            import traceback
            traceback.print_exc()
        os._exit(status)


@case("names that are swapped during the walk lead nowhere else, and nothing hangs")
def _(_):
    outside = Outside()
    with new_pool(TOP) as pool:
        for g in "abc":
            fill(pool.at(g))
        plant(pool.at("a"), outside.path)
        before = {g: inventory.inventory(pool.at(g), marks=False, hardlinks=False) for g in "abc"}
        until = time.monotonic() + SECONDS
        pids = [swapper(SWAPPERS[0], pool.at("a"), outside.path, SEED), swapper(SWAPPERS[1], pool.at("a"), outside.path, SEED),
                swapper(SWAPPERS[2], pool.at("b"), outside.path, SEED)]
        passes = met = 0
        try:
            while time.monotonic() < until:
                for args in (("--json",), ("-n", "--json")):
                    begun = time.monotonic()
                    r = command(*args, pool.path)
                    expect(time.monotonic() - begun < HANG, "a pass took", time.monotonic() - begun, "s")
                    expect(r.returncode in (0, 1), "status", r.returncode, r.stderr.decode(errors="replace"))
                    s = json.loads(r.stdout)
                    passes, met = passes + 1, met + s["skipped"]["changed"] + s["skipped"]["read"]
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
            ended = [os.waitpid(pid, 0)[1] for pid in pids]
            while os.path.ismount(pool.at("a/mnt")):
                subprocess.run(["umount", "-l", pool.at("a/mnt")], check=True)
        expect_equal(ended, [0, 0, 0], "status of the swappers (TEST_SEED=%d)" % SEED)
        outside.expect_untouched()
        summary(pool.path)
        for g in "abc":
            now = inventory.inventory(pool.at(g), marks=False, hardlinks=False)
            expect_same(files_only(before[g]), files_only(now), "changed in %s (TEST_SEED=%d)" % (g, SEED))
        for d in range(DIRS):
            for f in range(FILES):
                pool.expect_linked(*("%s/d%d/f%d" % (g, d, f) for g in "abc"))
        # A copy that its guest has replaced while it was displaced is nobody's: it is kept.
        left = os.listdir(pool.at(".hash/tmp"))
        expect_equal([n for n in left if not n.startswith("kept-")], [], "left in tmp/")
        outside.expect_untouched()
        expect(met > 0, "no pass met a swapped name: this proves nothing (TEST_SEED=%d)" % SEED)
        print("      %d passes, %d names had changed, %d copies kept" % (passes, met, len(left)))
    outside.remove()


def files_only(inv):
    """Without the times of directories, which swapping moves."""
    return {rel: line for rel, line in inv.items() if not line.startswith("d")}


@case("a FIFO that takes a file's name is not waited for, in reading or in linking")
def _(_):
    with new_pool(TOP) as pool:
        for g in "ab":
            fill(pool.at(g))
        os.mkfifo(pool.at("a/fifo"))
        pid = swapper((lambda guest, rng, _: swap_twice(guest + "/d0/f0", guest + "/fifo"),), pool.at("a"), None, SEED)
        try:
            for _ in range(60 if FULL else 10):
                r = command(pool.path)
                expect(r.returncode in (0, 1), "status", r.returncode, r.stderr.decode(errors="replace"))
        finally:
            os.kill(pid, signal.SIGTERM)
            expect_equal(os.waitpid(pid, 0)[1], 0, "status of the swapper")
        expect(stat.S_ISFIFO(os.lstat(pool.at("a/fifo")).st_mode), "the FIFO has another name now")


@case("a file on which a guest holds a lease, and does not give it up, is in use and not waited for")
def _(_):
    with new_pool(TOP) as pool:
        for g in "abc":
            fill(pool.at(g))
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        held = [os.open(pool.at("b/d1/f%d" % f), os.O_RDWR) for f in range(3)]
        try:
            for fd in held:
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            begun = time.monotonic()
            s = summary(pool.path)
            seconds = time.monotonic() - begun
        finally:
            for fd in held:
                os.close(fd)
        expect_equal((s["skipped"]["in_use"], s["linked"]), (3, 2 * DIRS * FILES - 3))
        expect(seconds < 10, "the pass took %.0f s" % seconds)


def open_files(pid, top):
    """Which files below @top a process has open."""
    fds = "/proc/%d/fd" % pid
    paths = (os.readlink(os.path.join(fds, fd)) for fd in os.listdir(fds))
    return {os.path.relpath(p, top) for p in paths if p.startswith(top + "/") and os.path.isfile(p)}


def bytes_read(pid):
    with open("/proc/%d/io" % pid) as f:
        return int(f.readline().split()[1])


def stopped_within(pool, size, begin):
    """A pass with one worker that has been stopped when it had read @begin bytes and not yet half of @size more."""
    for _ in range(20):
        for g in "abc":
            os.utime(pool.at(g + "/f"), ns=(tree.OLD, tree.OLD))  # no index knows it now
        p = subprocess.Popen([HASHIFY, "-q", "-j1", pool.path])
        while bytes_read(p.pid) < begin and not os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            pass
        p.send_signal(signal.SIGSTOP)
        ended = os.waitid(os.P_PID, p.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if ended.si_code == os.CLD_STOPPED and bytes_read(p.pid) < begin + size // 2:
            return p
        p.send_signal(signal.SIGCONT)
        p.wait()
    raise cases.Failed("no pass could be stopped in time")


@case("while a large file is hashed no other one is claimed that writers would have to wait for")
def _(_):
    size = 96 << 20
    with new_pool(TOP) as pool:
        for g in "abc":
            pool.put(g + "/f", g.encode() * size)
        p = stopped_within(pool, size, size + (16 << 20))
        try:
            claimed = open_files(p.pid, pool.path)
        finally:
            p.send_signal(signal.SIGCONT)
            expect_equal(p.wait(), 0)
        claimed = {f for f in claimed if not f.startswith(".hash/")}
        expect(len(claimed) == 1, "claimed are", claimed)


@case("files of any size that are all holes take no time")
def _(_):
    with new_pool(TOP) as pool:
        for g in "ab":
            pool.put(g + "/giant", [(0, b"head"), (1 << 40, b"x"), ((1 << 40) + 1, b"")], holes=True)
            pool.put(g + "/holes", [(15 << 40, b"")], holes=True)
            pool.put(g + "/f", b"content")
        begun = time.monotonic()
        s = summary(pool.path)
        expect(time.monotonic() - begun < 10, "the pass took", time.monotonic() - begun, "s")
        pool.expect_linked("a/f", "b/f")
        expect_equal(s["errors"], 0)


@case("a store that a guest has planted is a directory like any other")
def _(_):
    with new_pool(TOP) as pool:
        for g in "abc":
            fill(pool.at(g))
        pool.settle()
        pool.run()
        shutil.copytree(pool.at(".hash"), pool.at("a/.hash"), symlinks=True)
        subprocess.run(["cp", "-a", pool.at(".hash"), pool.at("b/sub-pool")], check=True)
        os.rename(pool.at("b/sub-pool"), pool.at("b/d0/.hash"))
        pool.put("a/.hash/tmp/copy-1-1", b"not yours to remove")
        pool.put("a/.hash/tmp/journal-0", b"not yours to remove")
        os.symlink("../../../c", pool.at("a/.hash/objects/fff.link"))
        s = pool.run()
        expect_equal(s["errors"], 0, "errors")
        expect_equal(tree.slurp(pool.at("a/.hash/tmp/copy-1-1")), b"not yours to remove")
        for d in range(DIRS):
            for f in range(FILES):
                for g in "abc":
                    expect_equal(tree.slurp(pool.at(g, "d%d/f%d" % (d, f))), content(d, f))
        expect_equal(summary("stat", pool.path)["objects"], s["objects_created"] + DIRS * FILES, "objects")


def plant_mark(path, space, ino, digest):
    os.setxattr(path, space + ".hashfs.object", b"1 %d %s" % (ino, digest.encode()))


def planted(space, user):
    """Marks with the inode's own number, which is what makes ours true, and the digest of another guest's object."""
    with new_pool(TOP) as pool:
        if user is not None:
            os.chown(pool.path, user, user)
        for g in "abc":
            fill(pool.at(g))
        owner = user or 0
        subprocess.run(["chown", "-R", "%d:%d" % (owner, owner), pool.path], check=True)
        pool.put_all("secret", b"the secret", uid=owner, gid=owner)
        summary(pool.path, user=user)
        shared = {pool.inode("b/secret"): None}
        victim = next(o for o in pool.objects() if os.lstat(o).st_ino in shared)
        digest = os.path.basename(victim)[:32]

        for name in ("alone", "pair", "twin"):
            pool.put("a/" + name, b"THE SECRET", uid=owner, gid=owner)
            plant_mark(pool.at("a", name), space, pool.inode("a/" + name), digest)
        os.link(pool.at("a/pair"), pool.at("a/pair2"))
        s = summary(pool.path, user=user)
        expect_equal((s["errors"], s["skipped"]["hard_linked"]), (0, 2))
        pool.expect_linked("a/alone", "a/twin")
        expect(not pool.linked("a/alone", "b/secret"), "taken for an object by its mark")
        expect_equal(pool.inode("a/pair"), pool.inode("a/pair2"), "inode of a pair")
        for name in ("alone", "pair", "pair2", "twin"):
            expect_equal(tree.slurp(pool.at("a", name)), b"THE SECRET")
        for g in "abc":
            expect_equal(tree.slurp(pool.at(g, "secret")), b"the secret")
        pool.expect_linked("a/secret", "b/secret", "c/secret")
        t = summary("stat", pool.path, user=user)
        expect_equal(t["errors"], 0, "errors of stat")


@case("a planted mark that is true of its inode makes no object")
def _(_):
    planted("trusted", None)


@case("a planted mark in user. makes no object where marks are in user.")
def _(_):
    planted("user", NOBODY)


@case("marks of every length and kind are read without harm")
def _(_):
    with new_pool(TOP) as pool:
        values = [b"", b"1", b"1 ", b"1 1", b"1 -1 " + b"0" * 32, b"1 99999999999999999999999 " + b"0" * 32, b"2 1 " + b"0" * 32,
                  b"\0" * 55, b"\xff" * 56, b"1 1 " + b"0" * 32 + b"x", b"x" * 2000]
        for n, value in enumerate(values):
            for g in "ab":
                path = pool.put("%s/f%d" % (g, n), b"content %d" % n)
                if g == "a":
                    os.setxattr(path, "trusted.hashfs.object", value)
                pool.put("%s/pair%d" % (g, n), b"pair %d" % n)
                os.setxattr(pool.at(g, "pair%d" % n), "trusted.hashfs.object", value)
                os.link(pool.at(g, "pair%d" % n), pool.at(g, "other%d" % n))
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"], s["skipped"]["hard_linked"], s["errors"]),
                     (len(values), len(values), 4 * len(values), 0))


sys.exit(cases.run(None))
