"""What may differ with --ignore, and what never may."""
import os
import subprocess
import sys
import time

import cases
import tree
from cases import case, expect, expect_equal
from cli import command, new_pool, summary

TOP = sys.argv[1]
DIFFERENT = {  # what b/f has that a/f has not
    "mtime": {"mtime": tree.OLD + 1},
    "owner": {"uid": 1000, "gid": 1001},
    "mode": {"mode": 0o600},
    "xattr": {"xattrs": {"user.a": b"1", "system.posix_acl_access": tree.acl(
        (tree.USER_OBJ, 6, 0), (tree.USER, 4, 1000), (tree.GROUP_OBJ, 4, 0), (tree.MASK, 4, 0), (tree.OTHER, 4, 0))}},
}


def put_pair(pool, name, both=None, **other):
    """a/NAME and b/NAME have the same content; b's differs as @other says."""
    pool.put("a/" + name, b"content of " + name.encode(), **(both or {}))
    pool.put("b/" + name, b"content of " + name.encode(), **{**(both or {}), **other})


def ignoring(what, pool):
    """A pass, as a dry run foretells it."""
    foretold = summary("--ignore=" + what, "--dry-run", pool.path)
    s = summary("--ignore=" + what, pool.path)
    expect_equal(foretold["linked"], s["linked"], "foretold with --ignore=" + what)
    return s


@case("files that differ in what is ignored share; nothing else does")
def _(_):
    for what in DIFFERENT:
        with new_pool(TOP) as pool:
            for name, other in DIFFERENT.items():
                put_pair(pool, name, **other)
            pool.settle()
            expect_equal(summary(pool.path)["linked"], 0, "linked without --ignore")
            expect_equal(ignoring(what, pool)["linked"], 1, "linked with --ignore=" + what)
            pool.expect_linked("a/" + what, "b/" + what)
            expect_equal(ignoring(what, pool)["linked"], 0, "linked by the second pass")


@case("all at once, and a guest that comes later")
def _(_):
    with new_pool(TOP) as pool:
        for name, other in DIFFERENT.items():
            put_pair(pool, name, **other)
        put_pair(pool, "all", mtime=tree.OLD + 7, uid=3, gid=4, mode=0o640, xattrs={"user.b": b"2"})
        pool.settle()
        expect_equal(ignoring("mtime,owner,mode,xattr", pool)["linked"], 5)
        pool.put("c/all", b"content of all", mtime=tree.OLD + 9, uid=9, mode=0o444)
        pool.settle()
        expect_equal(ignoring("mtime,mode", pool)["linked"], 0, "linked although the owner differs")
        expect_equal(ignoring("mtime,mode,owner,xattr", pool)["linked"], 1)
        pool.expect_linked("a/all", "c/all")


@case("what gives rights always counts: set-id bits, the owner of such a file, capabilities")
def _(_):
    with new_pool(TOP) as pool:
        put_pair(pool, "suid", both={"mode": 0o755}, mode=0o4755)
        put_pair(pool, "sgid", both={"mode": 0o755}, mode=0o2755)
        put_pair(pool, "owner", both={"mode": 0o4755}, uid=1000)
        put_pair(pool, "suid-mode", both={"mode": 0o4755}, mode=0o4711)
        put_pair(pool, "cap", xattrs={"security.capability": tree.CAP_NET_RAW})
        pool.settle()
        expect_equal(ignoring("mtime,owner,mode,xattr", pool)["linked"], 0)


def freed(pool, *args):
    return summary("-n", *args, pool.path)["bytes_freed"]


def would_free(pool):
    """What a dry run announces for each, and what each frees in truth; a dry run frees what a real one does."""
    usual = summary("-n", pool.path)
    truth = {what: freed(pool, "--ignore=" + what) - usual["bytes_freed"] for what in DIFFERENT}
    return usual["would_free"], truth


def expect_announced(pool, **blocks):
    """The same by a dry run; and by a real one, for a pass after it."""
    blocks = {what: 4096 * blocks.get(what, 0) for what in DIFFERENT}
    announced, truth = would_free(pool)
    expect_equal((announced, truth), (blocks, blocks))
    announced = summary(pool.path)["would_free"]
    truth = {what: freed(pool, "--ignore=" + what) for what in DIFFERENT}
    expect_equal(announced, truth, "after a real pass")
    expect_equal(summary("-n", pool.path)["would_free"], truth, "by the next pass")
    return truth


@case("the summary tells what each would free")
def _(_):
    with new_pool(TOP) as pool:
        for i, (name, other) in enumerate(DIFFERENT.items()):
            for n in range(i + 1):
                put_pair(pool, "%s-%d" % (name, n), **other)
        pool.settle()
        truth = expect_announced(pool, mtime=1, owner=2, mode=3, xattr=4)
        r = command("--no-default-excludes", "-n", pool.path)
        expect(b"--ignore=mode would free about 12.0 KiB more" in r.stdout, r.stdout)
        for what in ("mtime", "xattr"):
            expect_equal(summary("--ignore=" + what, pool.path)["bytes_freed"], truth[what], what)
        free = summary("-n", pool.path)["would_free"]
        expect_equal((free["mtime"], free["xattr"]), (0, 0))
        expect_equal(summary("-n", "--ignore=owner,mode", pool.path)["would_free"]["owner"], 0, "what is ignored anyway")


@case("what has become two objects is not announced any more")
def _(_):
    for what, other in DIFFERENT.items():
        with new_pool(TOP) as pool:
            for guest, more in (("a", {}), ("b", {}), ("c", other), ("d", other)):
                pool.put(guest + "/f", b"content", **more)
            pool.put("a/g", b"another")
            pool.put("b/g", b"another")
            pool.put("c/g", b"another", **other)
            pool.settle()
            expect_equal(expect_announced(pool, **{what: 2})[what], 4096, what)


@case("a guest that comes later, and objects that are there")
def _(_):
    for what, other in DIFFERENT.items():
        with new_pool(TOP) as pool:
            pool.put_all("f", b"content", guests="ab")
            summary(pool.path)
            pool.put("c/other-name", b"content", **other)
            pool.put("c/f", b"content")
            pool.settle()
            expect_equal(expect_announced(pool, **{what: 1})[what], 4096, what)
            expect_equal(summary("--ignore=" + what, pool.path)["bytes_freed"], 4096, what)


@case("what gives rights is not announced")
def _(_):
    rights = (
        ({"mode": 0o755}, {"mode": 0o4755}),
        ({"mode": 0o4755}, {"mode": 0o4755, "uid": 1000}),
        ({"mode": 0o2755}, {"mode": 0o2711}),
        ({}, {"xattrs": {"security.capability": tree.CAP_NET_RAW}}),
        ({"xattrs": {"security.capability": tree.CAP_NET_RAW}}, {}),
    )
    for one, other in rights:
        for guests in ("a", "ab"):
            with new_pool(TOP) as pool:
                pool.put_all("f", b"content", guests=guests, **one)
                pool.put("c/f", b"content", **other)
                pool.settle()
                expect_announced(pool)
                pool.put("d/f", b"content", **other)
                pool.settle()
                expect_announced(pool)
    with new_pool(TOP) as pool:
        put_pair(pool, "time", both={"mode": 0o4755}, mtime=tree.OLD + 1)
        pool.settle()
        expect_announced(pool, mtime=1)


@case("what was hashed is announced by its content, whatever the names")
def _(_):
    with new_pool(TOP) as pool:
        for i, guest in enumerate("ab"):  # two of each class, so that both are hashed
            for name, content in ("one", b"content"), ("two", b"other-%d" % i):
                pool.put("%s/%s-%s" % (guest, name, guest), content, mtime=tree.OLD + i)
                pool.put("%s/%s" % (guest, name), b"%s: %d, %s" % (name.encode(), i, content[:1]), mtime=tree.OLD + i)
        pool.settle()
        for _ in range(2):
            expect_equal(would_free(pool)[0], {"mtime": 4096, "owner": 0, "mode": 0, "xattr": 0})
            expect_equal(would_free(pool)[1]["mtime"], 4096)
            summary(pool.path)


@case("of files with holes is announced what they take")
def _(_):
    with new_pool(TOP) as pool:
        for i, guest in enumerate("abc"):
            pool.put(guest + "/f", tree.noise(1, 2_000_000), mtime=tree.OLD + i)
            subprocess.run(["truncate", "-s", "20M", pool.at(guest, "f")], check=True)
            os.utime(pool.at(guest, "f"), ns=(tree.OLD + i, tree.OLD + i))
        pool.settle()
        announced, truth = would_free(pool)
        expect(2_000_000 < truth["mtime"] // 2 < 3_000_000, truth)
        expect_equal(announced, truth)


@case("what is not read is announced as if it were equal, and never less than what is freed")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/f", b"content", mtime=tree.OLD + 1)
        pool.put("b/f", b"another", mtime=tree.OLD + 2)
        pool.settle()
        announced, truth = would_free(pool)
        expect_equal((announced["mtime"], truth["mtime"]), (4096, 0))
        for n, guest in enumerate("abcdefgh"):
            pool.put(guest + "/g", tree.noise(n % 3, 3000), mtime=tree.OLD + n % 4, mode=0o644 - n % 2)
            pool.put(guest + "/h", tree.noise(n % 2, 5000), mtime=tree.OLD + n // 2, uid=n % 3)
        pool.settle()
        for _ in range(2):
            announced, truth = would_free(pool)
            for what in DIFFERENT:
                expect(announced[what] >= truth[what], what, announced, truth)
            summary(pool.path)


@case("a list that names something else is refused")
def _(_):
    with new_pool(TOP) as pool:
        for value in ("", "size", "mtime,", ",mtime", "mtime owner", "mtime,,mode"):
            r = command("--ignore=" + value, pool.path)
            expect(r.returncode == 2 and b"--ignore" in r.stderr, value, r.returncode, r.stderr)
        for value in ("0", "65", "-1", "x", "2x", ""):
            r = command("--jobs=" + value, pool.path)
            expect(r.returncode == 2 and b"--jobs" in r.stderr, value, r.returncode, r.stderr)
        expect(not os.path.exists(pool.at(".hash")), "a refused command line made a store")


@case("any number of threads does the same")
def _(_):
    for jobs in (1, 3, 64):
        with new_pool(TOP) as pool:
            for i in range(200):
                pool.put_all("f%d" % i, tree.noise(i % 150, 100 + i % 150))
            pool.settle()
            s = summary("--jobs=%d" % jobs, pool.path)
            expect_equal((s["objects_created"], s["linked"]), (150, 450))


@case("what differs in something else is not read again by each pass")
def _(_):
    with new_pool(TOP) as pool:
        content = tree.noise(1, 200_000)
        pool.put("a/f", content)
        pool.put("b/f", content, mtime=tree.OLD + 1)
        pool.put("c/f", content, uid=1000)
        pool.settle()
        time.sleep(0.3)  # the index is told of what is older than a tick
        expect_equal(ignoring("mtime", pool)["linked"], 1)
        ignoring("mtime", pool)
        s = ignoring("mtime", pool)
        expect_equal((s["bytes_read"], s["linked"]), (0, 0))
        pool.put("d/f", content, uid=1000, mtime=tree.OLD + 5)
        pool.settle()
        expect_equal(ignoring("mtime", pool)["linked"], 1)
        pool.expect_linked("c/f", "d/f")


sys.exit(cases.run(None))
