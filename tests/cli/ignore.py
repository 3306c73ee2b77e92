"""What may differ with --ignore, and what never may."""
import os
import sys

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


@case("the summary tells what each would free")
def _(_):
    with new_pool(TOP) as pool:
        for i, (name, other) in enumerate(DIFFERENT.items()):
            for n in range(i + 1):
                put_pair(pool, "%s-%d" % (name, n), **other)
        pool.settle()
        for args in (["-n"], []):
            free = summary(*args, pool.path)["would_free"]
            expect_equal(free, {"mtime": 4096, "owner": 2 * 4096, "mode": 3 * 4096, "xattr": 4 * 4096})
        r = command("--no-default-excludes", "-n", pool.path)
        expect(b"--ignore=mode would free about 12.0 KiB more" in r.stdout, r.stdout)
        expect_equal(summary("--ignore=mode,owner", pool.path)["linked"], 5)
        free = summary("-n", pool.path)["would_free"]
        expect_equal((free["mtime"], free["mode"]), (4096, 0))


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


sys.exit(cases.run(None))
