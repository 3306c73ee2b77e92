"""Files that are being written while passes run, and while passes are killed: nobody loses a byte."""
import hashlib
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
import traceback

import cases
import kernel
import tree
from cases import case, expect, expect_equal
from cli import FULL, HASHIFY, MORTAL, command, new_pool, summary

TOP = sys.argv[1]
SECONDS = float(os.environ.get("TEST_SECONDS", "300" if FULL else "3"))
KILLS = int(os.environ.get("TEST_KILLS", "500" if FULL else "20"))
SEED = int(os.environ.get("TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
WRITERS = 3
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


@case("an attribute that a file gets while it waits for its twin stays its own")
def _(_):
    with new_pool(TOP) as pool:
        for g in "ab":
            pool.put(g + "/f", tree.noise("twin", 60_000))
        pool.settle()
        with subprocess.Popen([HASHIFY, "-q", "--io-limit=20K", pool.path]) as p:
            time.sleep(4.4)  # the first is read after 2.9 s, the second after 5.9 s
            os.setxattr(pool.at("a/f"), "user.own", b"1")
        expect_equal(p.returncode, 0)
        expect_equal([os.listxattr(pool.at(g + "/f")) for g in "ab"], [["user.own"], []])
        pool.expect_private("b/f")
        expect_equal(summary(pool.path)["linked"], 0)


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


class File:
    """What its writer made of a file of guest b, and what must be found in the end."""

    def __init__(self, path, content):
        self.path, self.content = path, content
        self.mode, self.mtime, self.xattr, self.hard, self.exists = 0o644, tree.OLD, None, False, True
        self.method = "never"

    def opened(self, flags):
        """An fd if the file is its writer's alone. A link is everybody's: natively it must not be written to, only replaced."""
        if not self.exists:
            return -1
        fd = os.open(self.path, flags)
        st = os.fstat(fd)
        if st.st_nlink == (2 if self.hard else 1) and (not self.hard or os.lstat(self.path + ".hard").st_ino == st.st_ino):
            return fd
        os.close(fd)
        return -1

    def create(self, path):
        tree.put(path, self.content, mode=self.mode, mtime=self.mtime, xattrs={"user.w": self.xattr} if self.xattr else {})

    def drop_hard(self):
        if self.hard:
            os.unlink(self.path + ".hard")
        self.hard = False

    def wanted(self):
        return {"method": self.method, "exists": self.exists, "hard": self.hard, "mode": self.mode, "mtime": self.mtime,
                "xattr": self.xattr and self.xattr.decode(), "sha256": hashlib.sha256(self.content).hexdigest()}


def stamp(f, fd):
    """The time that twins have, too, so that nothing but the content tells them apart."""
    f.mtime = tree.OLD
    os.utime(fd, ns=(f.mtime, f.mtime))


def by_pwrite(f, fd, content, rng):
    os.pwrite(fd, content[:SIZE // 2], 0)
    os.pwrite(fd, content[SIZE // 2:], SIZE // 2)
    f.content = content + f.content[SIZE:]
    stamp(f, fd)


def by_append(f, fd, content, rng):
    os.ftruncate(fd, 0)
    for at in range(0, SIZE, 5000):
        os.pwrite(fd, content[at:at + 5000], at)
    f.content = content
    stamp(f, fd)


def by_append_on(f, fd, content, rng):
    more = content[:100]
    os.pwrite(fd, more, len(f.content))
    f.content += more
    stamp(f, fd)


def by_truncate(f, fd, content, rng):
    size = rng.randrange(1, len(f.content) + 1)
    os.ftruncate(fd, size)
    f.content = f.content[:size]
    stamp(f, fd)


def by_mapping(f, fd, content, rng):
    os.ftruncate(fd, SIZE)
    m = mmap.mmap(fd, SIZE)
    m[0] = content[0]
    stamp(f, fd)
    m[:] = content  # on pages of which one is dirty already: no time moves
    m.close()
    f.content = content
    stamp(f, fd)


def by_mapping_alone(f, fd, content, rng):
    """Nothing but the mapping is left when it is written to."""
    os.ftruncate(fd, SIZE)
    m = mmap.mmap(fd, SIZE)
    stamp(f, fd)
    os.close(fd)
    m[0] = content[0]
    m[:] = content
    f.mtime = None  # whenever the kernel has noticed
    m.close()
    f.content = content
    return True


def by_metadata(f, fd, content, rng):
    """By an fd that is open for reading only, which no lease keeps away."""
    kind = rng.randrange(3)
    if kind == 0:
        f.mode = rng.choice((0o644, 0o644, 0o600, 0o4755))
        os.fchmod(fd, f.mode)
    elif kind == 1:
        f.mtime = rng.choice((tree.OLD, tree.OLD + 1))
        os.utime(fd, ns=(f.mtime, f.mtime))
    elif f.xattr:
        f.xattr = None
        os.removexattr(fd, "user.w")
    else:
        f.xattr = b"%d" % rng.randrange(1000)
        os.setxattr(fd, "user.w", f.xattr)


def by_hard_link(f, fd, content, rng):
    if f.hard:
        return
    kernel.link_fd(fd, f.path + ".hard")
    f.hard = True


def by_rename(f, content, rng):
    """Always possible. Natively, rename(2) of two links of one inode does nothing and leaves the old name."""
    f.content, f.mode, f.mtime, f.xattr = content, 0o644, tree.OLD, None
    f.drop_hard()
    if os.path.exists(f.path + ".new"):
        os.unlink(f.path + ".new")
    f.create(f.path + ".new")
    os.rename(f.path + ".new", f.path)
    f.exists = True


def by_unlink(f, content, rng):
    if f.exists:
        os.unlink(f.path)
    f.content, f.mode, f.mtime, f.xattr = content, 0o644, tree.OLD, None
    f.drop_hard()
    f.create(f.path)
    f.exists = True


def by_deletion(f, content, rng):
    if f.exists:
        os.unlink(f.path)
    f.drop_hard()
    f.exists = False


OPENED = {by_pwrite: os.O_RDWR, by_append: os.O_RDWR, by_append_on: os.O_RDWR, by_truncate: os.O_RDWR, by_mapping: os.O_RDWR,
          by_mapping_alone: os.O_RDWR, by_metadata: os.O_RDONLY, by_hard_link: os.O_RDONLY}
BY_NAME = (by_rename, by_rename, by_unlink, by_unlink, by_deletion)


def write(f, content, rng):
    method = rng.choice((*OPENED, *BY_NAME))
    if method in OPENED:
        fd = f.opened(OPENED[method])
        if fd >= 0:
            if not method(f, fd, content, rng):
                os.close(fd)
            f.method = method.__name__
            return
        method = by_rename
    method(f, content, rng)
    f.method = method.__name__


def writer(pool, number, until, report):
    """Owns every third file of guest b; reports what it made of each."""
    rng = random.Random("%d %d" % (SEED, number))
    files = {i: File(pool.at("b/d%d/f%d" % (i % 5, i)), original(i)) for i in range(number, FILES, WRITERS)}
    while not os.path.exists(until):
        i = rng.choice(list(files))
        # Often the original again, so that there is always something to link.
        write(files[i], original(i) if rng.random() < 0.6 else tree.noise((number, rng.random()), SIZE), rng)
    for f in files.values():  # of a rename that was no rename
        if os.path.exists(f.path + ".new"):
            os.unlink(f.path + ".new")
    with open(report, "w") as out:
        json.dump({i: f.wanted() for i, f in files.items()}, out)


class Writers:
    """Child processes that write until they are told to stop."""

    def __init__(self, pool):
        self.pool, self.stop = pool, os.path.join(TOP, "stop")
        self.reports = ["%s/report.%d" % (TOP, n) for n in range(WRITERS)]
        self.pids = [self.start(n) for n in range(WRITERS)]

    def start(self, n):
        pid = os.fork()
        if pid:
            return pid
        try:
            writer(self.pool, n, self.stop, self.reports[n])
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def end(self):
        """What is to be found, for each number of a file."""
        open(self.stop, "w").close()
        status = [os.waitpid(pid, 0)[1] for pid in self.pids]
        os.unlink(self.stop)
        expect_equal(status, [0] * WRITERS, "status of the writers (TEST_SEED=%d)" % SEED)
        ret = {}
        for path in self.reports:
            with open(path) as f:
                ret.update({int(i): w for i, w in json.load(f).items()})
            os.unlink(path)
        return ret


def found(path, wanted):
    """What is wrong with the file, if anything."""
    if not wanted["exists"]:
        return "is back" if os.path.lexists(path) else None
    if not os.path.lexists(path):
        return "is gone"
    st = os.lstat(path)
    if hashlib.sha256(tree.slurp(path)).hexdigest() != wanted["sha256"]:
        return "has other content (%d bytes, %d names)" % (st.st_size, st.st_nlink)
    if (st.st_mode & 0o7777) != wanted["mode"]:
        return "has mode %o" % st.st_mode
    if wanted["mtime"] and st.st_mtime_ns != wanted["mtime"]:
        return "has another mtime"
    xattr = os.getxattr(path, "user.w").decode() if "user.w" in os.listxattr(path) else None
    if xattr != wanted["xattr"]:
        return "has xattr %r" % xattr
    if wanted["hard"] and (not os.path.exists(path + ".hard") or os.lstat(path + ".hard").st_ino != st.st_ino):
        return "is no longer linked to its second name"
    return None


def expect_found(pool, wanted):
    wrong, names = [], set()
    for i in range(FILES):
        path = pool.at("b/d%d/f%d" % (i % 5, i))
        names |= {path} if wanted[i]["exists"] else set()
        names |= {path + ".hard"} if wanted[i]["hard"] else set()
        what = found(path, wanted[i])
        if what:
            wrong.append("%s, last written %s, %s" % (path, wanted[i]["method"], what))
        for g in "ac":
            if found(pool.at(g, "d%d/f%d" % (i % 5, i)), File("", original(i)).wanted()):
                wrong.append("%s/f%d of somebody else" % (g, i))
    there = {os.path.join(d, n) for d, _, files in os.walk(pool.at("b")) for n in files}
    wrong += ["under a foreign name: " + n for n in there - names]
    expect(not wrong, "(TEST_SEED=%d)" % SEED, *wrong)


@case("guests that write while passes run find every byte")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        summary(pool.path)  # what writers hold is never made an object, but replaced by one
        writers = Writers(pool)
        until = time.monotonic() + SECONDS
        passes = linked = changed = 0
        try:
            while time.monotonic() < until:
                r = command("--json", pool.path)
                expect(r.returncode == 0, "status", r.returncode, r.stderr.decode(errors="replace"))
                s = json.loads(r.stdout)
                passes, linked = passes + 1, linked + s["linked"]
                changed += s["skipped"]["changed"] + s["skipped"]["in_use"]
        finally:
            wanted = writers.end()
        expect_found(pool, wanted)
        expect(linked > 0, "nothing was linked meanwhile")
        print("      %d passes, %d links, %d files in use or changed" % (passes, linked, changed))


@case("guests that write while passes are killed find every byte after the next pass")
def _(_):
    rng = random.Random(SEED)
    with new_pool(TOP) as pool:
        fill(pool)
        begun = time.monotonic()
        summary(pool.path)
        duration = time.monotonic() - begun
        writers = Writers(pool)
        hit = tried = put_back = kept = 0
        try:
            while hit < KILLS:
                expect(tried < 5 * KILLS, "only", hit, "of", tried, "passes were hit")
                begun = time.monotonic()
                p = subprocess.Popen([HASHIFY, "--json", pool.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=MORTAL)
                try:
                    out, err = p.communicate(timeout=rng.uniform(0, duration))
                    expect_equal(p.returncode, 0, err)
                    duration = time.monotonic() - begun  # of the latest that was whole: the machine may be busy at times
                    recovered = json.loads(out)["recovered"]
                    put_back, kept = put_back + recovered["put_back"], kept + recovered["kept"]
                except subprocess.TimeoutExpired:  # the moment of the kill, not a wait for anything
                    p.kill()
                    p.communicate()
                hit, tried = hit + (p.returncode == -signal.SIGKILL), tried + 1
        finally:
            wanted = writers.end()
        s = summary(pool.path)
        expect_found(pool, wanted)
        left = [n for n in os.listdir(pool.at(".hash/tmp")) if not n.startswith("kept-")]
        expect_equal(left, [], "left in tmp/")
        summary(pool.path)
        expect_found(pool, wanted)
        print("      %d of %d passes were killed; %d files put back, %d kept" % (
            hit, tried, put_back + s["recovered"]["put_back"], kept + s["recovered"]["kept"]))


sys.exit(cases.run(None))
