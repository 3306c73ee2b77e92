"""What a pass does when the filesystem or the disk below it fails it."""
import errno
import json
import os
import signal
import subprocess
import sys
import time

import cases
import tree
from cases import NotHere, case, expect, expect_equal
from cli import FULL, HASHIFY, expect_same, full_inventory, new_pool, preloaded, summary

TOP, KIND, IMAGE = sys.argv[1:4]
BALLAST = os.path.join(TOP, "ballast")
SHARED, NEW = 30, 60  # files that are objects already, and more that are to become some

# A link takes no block on ext4, but for a new one of the directory now and then. XFS and btrfs want room for what they may
# have to write, and have none.
LINKS_TAKE_NOTHING = KIND == "ext4"


def end(said):
    """What is worth reading of what a pass said."""
    lines = said.splitlines()
    return "\n".join((["..."] if len(lines) > 4 else []) + lines[-4:])


def files_only(inv):
    """Without the times of directories: the call that puts them back may be the one that fails."""
    return {g: {rel: line for rel, line in i.items() if not line.startswith("d")} for g, i in inv.items()}


def failing(pool, call, error, at="", every=1, *args):
    """A pass in which system calls fail. Guests notice nothing."""
    before = files_only(full_inventory(pool.path))
    env = preloaded(FAULT_CALL=call, FAULT_ERROR=str(error), FAULT_AT=at, FAULT_EVERY=str(every))
    r = run(pool, env, *args)
    expect_same(before, files_only(full_inventory(pool.path)), "changed when %s failed with %s" % (call, errno.errorcode[error]))
    return r


CHANGES = {
    "truncated": "os.close(os.open(f, os.O_RDONLY | os.O_TRUNC))",
    "other mode": "os.chmod(f, 0o600)",
    "xattr": "os.setxattr(f, 'user.own', b'1')",
    "written": "os.open(f, os.O_WRONLY | os.O_NONBLOCK)",  # and has to try again
}


@case("a guest that changes its file while that becomes an object changes nobody else's")
def _(_):
    for call in ("fsetxattr", "linkat"):  # before it is marked, and before it has the second name
        for how, change in CHANGES.items():
            with new_pool(TOP) as pool:
                pool.put_all("file", tree.noise(1, 9000), guests="ab")
                tree.settle(pool.path)
                before = full_inventory(pool.path)
                said_by_guest = pool.at("said")
                script = "env -u LD_PRELOAD %s -c \"import os; f = os.environ['FAULT_FILE']; print(f); %s\" >%s 2>&1" % (
                    sys.executable, change, said_by_guest)
                _, s, said = run(pool, preloaded(FAULT_CALL=call, FAULT_AT="/file/", FAULT_RUN=script + "; true"), "--jobs=1")
                lines = tree.slurp(said_by_guest).decode().splitlines()
                expect_equal("Resource temporarily unavailable" in lines[-1], how == "written", lines)
                guest = lines[0].split("/")[-2] if len(lines) == 1 else None
                expect_equal((s["linked"], s["objects_created"], s["errors"]), (0, 0, 0), (call, how, said))
                expect_equal(pool.objects(), [], (call, how))
                after = full_inventory(pool.path)
                expect_equal([g for g in "ab" if after[g] != before[g]], [guest] if guest else [], (call, how))
                for g in "ab":  # its own, and no link to an object
                    os.link(pool.at(g, "file"), pool.at(g, "file2"))
                skipped = summary(pool.path)["skipped"]
                expect_equal(skipped["empty"] + skipped["hard_linked"], 4)


def run(pool, env=None, *args):
    """A pass of which only the ends are told: (status, summary or None, what it said)."""
    env = env or dict(os.environ, LC_ALL="C")
    r = subprocess.run([HASHIFY, "-v", "--json", *args, pool.path], capture_output=True, env=env, timeout=100)
    said = r.stderr.decode(errors="replace")
    expect(r.returncode in (0, 1, 2), "status", r.returncode, end(said))
    s = json.loads(r.stdout) if r.stdout else None
    if s and r.returncode < 2:
        expect_equal(r.returncode, int(s["errors"] > 0), "status against errors")
        expect_equal(s["already_linked"] + s["objects_created"] + s["linked"] + sum(s["skipped"].values()), s["seen"],
                     "the parts of what was seen")
    return r.returncode, s, said


def expect_named(s, said, words, least=1):
    """Each error is counted and, with -v, named with its reason."""
    expect(s["errors"] >= least, "only", s["errors"], "errors counted;", end(said))
    named = [line for line in said.splitlines() if words in line]
    expect(len(named) >= s["errors"], "of", s["errors"], "errors only", len(named), "are named with", repr(words), "in", end(said))


def fill(pool, first, last, guests="abc"):
    for i in range(first, last):
        pool.put_all("d%d/f%d" % (i % 4, i), tree.noise(i, 9000), guests=guests)


def expect_all_shared(pool, last):
    """When the trouble is over, a pass completes the work."""
    before = full_inventory(pool.path)
    s = summary(pool.path)
    expect_same(before, full_inventory(pool.path), "changed by the last pass")
    expect_equal(s["errors"], 0, "errors of the last pass")
    expect_equal(os.listdir(pool.at(".hash/tmp")), [], "left in tmp/")
    for i in range(last):
        pool.expect_linked(*("%s/d%d/f%d" % (g, i % 4, i) for g in "abc"))


# ---- what a killed pass has left ----

def given_displaced(pool):
    """A pass was killed when it had put a link in a file's place, and the guest, which runs on, has written to that."""
    pool.put_all("d/file", tree.noise(1, 9000), guests="ab")
    tree.settle(pool.path)
    env = preloaded(FAULT_CALL="unlinkat", FAULT_AT="/.hash/tmp/worker-", FAULT_RUN="kill -9 $PPID; true")
    r = subprocess.run([HASHIFY, "-q", "--jobs=1", "--no-default-excludes", pool.path], env=env, capture_output=True)
    expect_equal(r.returncode, -signal.SIGKILL, r.stderr)
    name, = (n for n in os.listdir(pool.at(".hash/tmp/worker-0")) if n[0] != "j")
    with open(pool.at(".hash/tmp/worker-0", name), "r+b") as f:
        f.write(b"written later")
    pool.expect_linked("a/d/file", "b/d/file")
    return name


@case("a displaced file that the disk has damaged is kept, and stops no pass")
def _(_):
    for call, at, left in (("renameat2", "/d/file", False),  # its place cannot be written to
                           ("fstatat", "/worker-0/", False),  # or its inode be read
                           ("renameat2", "", True)):  # or its name be changed
        with new_pool(TOP) as pool:
            name = given_displaced(pool)
            for error in (errno.EIO, errno.EUCLEAN):  # what is left is tried again
                if error == errno.EUCLEAN and not left:
                    break
                told = call == "renameat2" and error == errno.EIO  # where it belongs
                env = preloaded(FAULT_CALL=call, FAULT_AT=at, FAULT_ERROR=str(error))
                status, s, said = run(pool, env)
                expect_equal((status, s["recovered"]["kept"], s["recovered"]["put_back"]), (0, 1, 0), (call, said))
                line = next(line for line in said.splitlines() if "cannot be put in order: " + os.strerror(error) in line)
                expect("/.hash/tmp/worker-0/" + name in line and (not told or "/d/file" in line), line)
                where = ".hash/tmp/" + ("worker-0/%s" % name if left else "kept-%s-0" % name)
                expect_equal(tree.slurp(pool.at(where))[:13], b"written later")
                pool.expect_linked("a/d/file", "b/d/file")
            s = summary(pool.path)  # where its place was is not known any more
            expect_equal((s["recovered"]["kept"], s["recovered"]["kept_before"]), (1, 0) if left else (0, 1))
            expect_equal(tree.slurp(pool.at(".hash/tmp/kept-%s-0" % name))[:13], b"written later")


@case("one that has no place for want of room is put back when there is some")
def _(_):
    with new_pool(TOP) as pool:
        given_displaced(pool)
        status, _, said = run(pool, preloaded(FAULT_CALL="renameat2", FAULT_AT="/d/file", FAULT_ERROR=str(errno.ENOSPC)))
        expect(status == 2 and "No space" in said, status, said)
        expect_equal(summary(pool.path)["recovered"]["put_back"], 1)
        expect(b"written later" in [tree.slurp(pool.at(g, "d/file"))[:13] for g in "ab"], "not put back")


# ---- resources that end ----

def fill_disk():
    """Takes all the room, down to the last byte that is to be had."""
    os.makedirs(BALLAST, exist_ok=True)
    size = 1 << 20
    n = 0
    while size >= 512:
        try:
            with open("%s/%d" % (BALLAST, n), "wb", buffering=0) as f:
                os.posix_fallocate(f.fileno(), 0, 64 * size)
                for _ in range(64):
                    f.write(b"x" * size)
            n += 1
        except OSError as e:
            expect(e.errno in (errno.ENOSPC, errno.EDQUOT), e)
            size //= 2
    os.sync()


def fill_inodes():
    os.makedirs(BALLAST, exist_ok=True)
    n = 0
    try:
        while True:
            os.close(os.open("%s/%d" % (BALLAST, n), os.O_WRONLY | os.O_CREAT))
            n += 1
    except OSError as e:
        expect_equal(e.errno, errno.ENOSPC)


def lighten():
    subprocess.run(["rm", "-rf", BALLAST], check=True)
    os.sync()


def without_a_store(exhaust):
    with new_pool(TOP) as pool:
        fill(pool, 0, SHARED)
        before = full_inventory(pool.path)
        exhaust()
        try:
            status, s, said = run(pool)
            expect_same(before, full_inventory(pool.path), "changed")
        finally:
            lighten()
        if status == 2:
            expect(said.startswith("hashify: ") and pool.path in said and said.count("\n") == 1, "not one sentence:", said)
            expect(os.strerror(errno.ENOSPC) in said or os.strerror(errno.EDQUOT) in said, "the cause is not named:", end(said))
        else:  # there was room for a store yet
            expect(s["objects_created"] == SHARED or s["errors"], "neither done nor counted", s)
        expect_equal(sorted(n for n in os.listdir(pool.path) if n.startswith(".hash.new")), [], "left behind")
        expect_all_shared(pool, SHARED)


def with_a_store(exhaust, words):
    with new_pool(TOP) as pool:
        fill(pool, 0, SHARED, "ab")
        summary(pool.path)
        fill(pool, 0, SHARED, "c")
        fill(pool, SHARED, SHARED + NEW)
        before = full_inventory(pool.path)
        os.sync()
        exhaust()
        try:
            status, s, said = run(pool)
            expect_same(before, full_inventory(pool.path), "changed")
            foretold = summary("-n", pool.path)
        finally:
            lighten()
        expect(status < 2, "the pass ended early:", end(said))
        expect(s["objects_created"] == NEW or s["errors"], "neither done nor counted", s)
        if s["errors"]:
            expect_named(s, said, words)
        if LINKS_TAKE_NOTHING:
            expect(s["linked"] >= SHARED / 2, "only", s["linked"], "were linked to objects that were there;", end(said))
        expect_equal(foretold["already_linked"], 2 * SHARED + s["objects_created"] + s["linked"], "what a dry run sees")
        expect_all_shared(pool, SHARED + NEW)


@case("a full disk, on which there is no store yet")
def _(_):
    without_a_store(fill_disk)


@case("a full disk, and a store: what cannot be linked is named and counted")
def _(_):
    with_a_store(fill_disk, os.strerror(errno.ENOSPC))


@case("no inode is left, and there is no store yet")
def _(_):
    if KIND != "ext4":
        raise NotHere("inodes are made as they are needed")
    without_a_store(fill_inodes)


@case("no inode is left, and there is a store: what cannot be linked is named and counted")
def _(_):
    if KIND != "ext4":
        raise NotHere("inodes are made as they are needed")
    with_a_store(fill_inodes, os.strerror(errno.ENOSPC))


@case("the quota is used up")
def _(_):
    if KIND != "btrfs":
        raise NotHere("quota of users is a matter of the kernel's build; see EDQUOT below")
    subprocess.run(["btrfs", "quota", "enable", TOP], check=True, capture_output=True)

    def exhaust():
        os.sync()
        subprocess.run(["btrfs", "quota", "rescan", "-w", TOP], check=True, capture_output=True)
        subprocess.run(["btrfs", "qgroup", "limit", "24M", "0/5", TOP], check=True, capture_output=True)
        fill_disk()

    def limited(test, *args):
        try:
            test(exhaust, *args)
        finally:
            subprocess.run(["btrfs", "qgroup", "limit", "none", "0/5", TOP], check=True, capture_output=True)

    global lighten
    lighten_disk = lighten

    def lighten():
        subprocess.run(["btrfs", "qgroup", "limit", "none", "0/5", TOP], check=True, capture_output=True)
        lighten_disk()

    try:
        limited(without_a_store)
        limited(with_a_store, os.strerror(errno.EDQUOT))
    finally:
        lighten = lighten_disk
        subprocess.run(["btrfs", "quota", "disable", TOP], check=True)


@case("a guest that is read-only beside others that are not")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, 0, SHARED)
        subprocess.run(["mount", "--bind", pool.at("b"), pool.at("b")], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", pool.at("b")], check=True)
            status, s, said = run(pool)
            expect_equal((status, s["objects_created"], s["linked"]), (0, SHARED, SHARED), end(said))
        finally:
            subprocess.run(["umount", pool.at("b")], check=True)
        expect_all_shared(pool, SHARED)


# ---- a disk that cannot be read ----

def spoil(content):
    """Writes something else over @content on the disk below the filesystem, which must not be mounted."""
    with open(IMAGE, "r+b") as f:
        data = f.read()
        at = data.find(content)
        expect(at >= 0, "not found on the disk")
        while at >= 0:
            f.seek(at)
            f.write(b"\0" * 16)
            at = data.find(content, at + 1)


@case("sectors that cannot be read: their files are named, all others are shared")
def _(_):
    if KIND != "btrfs":
        raise NotHere("only btrfs knows what it cannot read; see the same with EIO below")
    with new_pool(TOP) as pool:
        fill(pool, 0, SHARED)
        os.sync()
        subprocess.run(["umount", TOP], check=True)
        bad = (3, 7, 20)
        for i in bad:
            spoil(tree.noise(i, 9000)[:4096])
        subprocess.run(["mount", "-o", "loop", IMAGE, TOP], check=True)
        status, s, said = run(pool)
        expect_equal((status, s["errors"], s["linked"]), (1, 3 * len(bad), 2 * (SHARED - len(bad))))
        expect_named(s, said, "cannot be read: " + os.strerror(errno.EIO))
        for i in bad:
            expect("a/d%d/f%d: " % (i % 4, i) in said, "f%d is not named in" % i, said)
            pool.expect_private("a/d%d/f%d" % (i % 4, i))


# ---- calls that fail ----

CALLS = FULL or KIND == "ext4"  # the same code on each


def put_bad(pool):
    """Small and large files that calls will fail on, and others."""
    fill(pool, 0, SHARED)
    for i in range(4):
        pool.put_all("bad/small%d" % i, tree.noise(("bad", i), 3000))
        pool.put_all("bad/large%d" % i, tree.noise(("bad", i), 200_000))
    pool.settle()


def expect_rest_shared(pool, what):
    for i in range(SHARED):
        expect(pool.linked(*("%s/d%d/f%d" % (g, i % 4, i) for g in "abc")), "not shared when %s: f%d" % (what, i))


def expect_whole(pool):
    expect_all_shared(pool, SHARED)
    for size in ("small", "large"):
        for i in range(4):
            pool.expect_linked(*("%s/bad/%s%d" % (g, size, i) for g in "abc"))


def one_call_fails(call, error, every, reason, count):
    name = "%s fails with %s for %s of some files: these are named, all others are shared" % (
        call, errno.errorcode[error], "each" if every == 1 else "every %d" % every)

    if not CALLS:
        return

    @case(name)
    def _(_):
        with new_pool(TOP) as pool:
            put_bad(pool)
            what = "%s fails with %s" % (call, errno.errorcode[error])
            status, s, said = failing(pool, call, error, "/bad", every)
            expect(status < 2, "the pass ended early:", end(said))
            expect_rest_shared(pool, what)
            if count is not None:
                expect_equal(s["skipped"][reason], count, reason)
            if s["errors"] or count:
                expect_named(s, said, os.strerror(error))
            expect_whole(pool)


@case("a file whose size objects have, and whose times none has, is opened by one pass and not by the next")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, 0, 4)
        pool.put("a/own", tree.noise("own", 9000), mtime=tree.OLD + 5)
        time.sleep(0.3)
        summary(pool.path)
        def errors():
            return failing(pool, "lease", errno.ENOLCK, "/own")[1]["errors"]
        expect_equal(errors(), 1, "nobody opens it, so this proves nothing:")
        summary(pool.path)
        expect_equal(errors(), 0, "it is opened again:")
        pool.put("b/own", tree.noise("own", 9000), mtime=tree.OLD + 5)
        summary(pool.path)
        pool.expect_linked("a/own", "b/own")


one_call_fails("pread", errno.EIO, 1, "read", 24)
one_call_fails("pread", errno.EIO, 3, "read", None)  # of some the second reading, to compare, and some succeed
one_call_fails("openat2", errno.EIO, 1, "read", 3)  # the directories
one_call_fails("openat2", errno.EMFILE, 1, "read", 3)
one_call_fails("openat2", errno.EIO, 5, "read", None)
one_call_fails("statx", errno.EIO, 1, "read", 3)  # the directories
one_call_fails("statx", errno.EIO, 5, "read", None)
one_call_fails("getdents64", errno.EIO, 1, "read", 3)
one_call_fails("flistxattr", errno.EIO, 1, "read", 24)
one_call_fails("lease", errno.ENOLCK, 1, "read", 24)
one_call_fails("fstat", errno.EIO, 4, "read", None)
one_call_fails("fsetxattr", errno.ENOSPC, 1, "link", 24)  # the last of equal files as well
one_call_fails("fsetxattr", errno.EDQUOT, 1, "link", 24)
one_call_fails("linkat", errno.EDQUOT, 2, "link", None)
one_call_fails("renameat2", errno.EIO, 1, "link", None)
one_call_fails("renameat2", errno.EDQUOT, 2, "link", None)
one_call_fails("renameat2", errno.EROFS, 3, "link", None)
one_call_fails("futimens", errno.EIO, 1, "link", None)


def store_fails(call, error, at="/.hash/", every=1):
    if not CALLS:
        return

    @case("%s fails with %s %s in the store: nothing is lost, and the next pass completes the work" % (
        call, errno.errorcode[error], "always" if every == 1 else "every %d times" % every))
    def _(_):
        with new_pool(TOP) as pool:
            fill(pool, 0, SHARED, "ab")
            summary(pool.path)
            put_more(pool)
            status, s, said = failing(pool, call, error, at, every)
            if status:
                expect(os.strerror(error) in said or (error == errno.EROFS and "read-only" in said), "the cause is not named:", end(said))
            expect_whole(pool)


if CALLS:
    @case("a displaced file that cannot be dropped: it is said where it lies, and the next pass drops it")
    def _(_):
        with new_pool(TOP) as pool:
            fill(pool, 0, SHARED)
            status, s, said = failing(pool, "unlinkat", errno.EIO, "/.hash/tmp/")
            expect_equal(status, 2)
            expect("in .hash/tmp: a displaced file cannot be put back or dropped: " + os.strerror(errno.EIO) in said, end(said))
            expect_all_shared(pool, SHARED)

    @case("objects that cannot be read are named and not used, and what is like them is shared anew or left alone")
    def _(_):
        with new_pool(TOP) as pool:
            fill(pool, 0, SHARED, "ab")
            summary(pool.path)
            put_more(pool)
            status, s, said = failing(pool, "pread", errno.EIO, "/.hash/objects/")
            for path in pool.objects():
                if os.lstat(path).st_nlink == 3:
                    expect(path[len(pool.path) + 1:] + ": " + os.strerror(errno.EIO) in said, path, "is not named in", end(said))
            expect_equal((status, s["already_linked"], s["skipped"]["alone"]), (1, 2 * SHARED, SHARED), end(said))
            expect_whole(pool)


def put_more(pool):
    fill(pool, 0, SHARED, "c")
    for i in range(4):
        pool.put_all("bad/small%d" % i, tree.noise(("bad", i), 3000))
        pool.put_all("bad/large%d" % i, tree.noise(("bad", i), 200_000))


for each in (1, 3) if FULL else (2,):
    for number in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS) if FULL else (errno.EIO,):
        for function in ("pread", "pwrite", "openat", "fgetxattr", "fstat", "fstatat", "mkdirat", "unlinkat", "linkat"):
            store_fails(function, number, every=each)
        for function in ("syncfs", "fdatasync", "renameat2", "lease", "openat2"):
            store_fails(function, number, "", each)


sys.exit(cases.run(None))
