"""What becomes shared, and that nothing else changes."""
import os
import sys

import cases
import kernel
import tree
from cases import case, expect, expect_equal
from cli import FULL, constant, full_inventory, new_pool, stamps, expect_same, summary, sync

TOP = sys.argv[1]
SIZES = (1, 100, 4095, 4096, 4097, 131071, 131072, 131073, 1_000_000)


def fill(pool):
    """Three guests with a bit of everything."""
    for n, size in enumerate(SIZES):
        for i in range(3):
            pool.put_all("same/%d/%d" % (size, i), tree.noise((size, i), size), mode=0o600 + n, uid=n, gid=i,
                         mtime=tree.OLD + i)
    for g in "abc":
        pool.put(g + "/own/one", tree.noise(g, 5000))
        pool.put(g + "/own/other-size", tree.noise(g, 6000 + ord(g)))
        pool.put(g + "/etc/empty", b"")
        os.symlink("../same/1/0", pool.at(g, "etc/link"))
        os.mkfifo(pool.at(g, "etc/fifo"))
        pool.put(g + "/etc/pair", b"pair" + g.encode())
        os.link(pool.at(g, "etc/pair"), pool.at(g, "etc/pair2"))
    pool.put_all("acl", b"with an ACL", xattrs={"user.a": b"1", "system.posix_acl_access": tree.acl(
        (tree.USER_OBJ, 6, 0), (tree.USER, 4, 1000), (tree.GROUP_OBJ, 4, 0), (tree.MASK, 4, 0), (tree.OTHER, 4, 0))})
    pool.put_all("ping", b"a program", mode=0o755, xattrs={"security.capability": tree.CAP_NET_RAW})
    pool.settle()


@case("identical files of three guests are one object, and the figures are exact")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        blocks = sum(os.lstat(pool.at("a", d, n)).st_blocks for d, _, names in os.walk(pool.at("a"))
                     for n in names if "/same" in d or n in ("acl", "ping"))
        s = pool.run()
        for size in SIZES:
            for i in range(3):
                pool.expect_linked(*("%s/same/%d/%d" % (g, size, i) for g in "abc"))
        pool.expect_linked("a/acl", "b/acl", "c/acl")
        pool.expect_linked("a/ping", "b/ping", "c/ping")
        shared = len(SIZES) * 3 + 2
        expect_equal((s["guests"], s["objects_created"], s["linked"], s["already_linked"]), (3, shared, 2 * shared, 0))
        expect_equal(s["bytes_freed"], 2 * blocks * 512, "bytes freed")
        expect_equal({k: v for k, v in s["skipped"].items() if v},
                     {"alone": 6, "empty": 3, "symlink": 3, "special": 3, "hard_linked": 6}, "skipped")


@case("a second pass changes nothing, reads nothing that is shared, and counts links")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        first = pool.run()
        before = stamps(pool.path)
        second = pool.run()
        expect_same(before, stamps(pool.path), "changed by the second pass")
        expect_equal((second["objects_created"], second["linked"], second["bytes_freed"]), (0, 0, 0))
        expect_equal(second["already_linked"], first["objects_created"] + first["linked"])
        expect(second["bytes_read"] <= 3 * 5000, "the second pass read", second["bytes_read"])
        expect_equal(second["skipped"], first["skipped"], "skipped")


@case("with little memory the guests are walked in parts, and the result is the same")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(2000):
            pool.put_all("d%d/f%d" % (i % 7, i), tree.noise(i % 1500, 100 + i % 1500))
        pool.put("a/own", b"own")
        os.mkfifo(pool.at("a/fifo"))
        pool.settle()
        plain = summary("--dry-run", pool.path)
        for memory in ("1", "100K", "300K", "100M"):
            expect_equal(constant(summary("--dry-run", "--memory=" + memory, pool.path)), constant(plain), memory)
        before = full_inventory(pool.path)
        s = summary("--memory=100K", pool.path)
        expect_same(before, full_inventory(pool.path), "changed by a pass")
        expect_equal(constant(s), constant(plain))
        expect_equal(summary("--memory=100K", pool.path)["already_linked"], 6000)


@case("a dry run on a directory without a store makes none")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        pool.dry_run()
        expect(not os.path.exists(pool.at(".hash")), "a dry run made a store")


@case("a new guest is linked to the objects that are there")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content", guests="ab")
        pool.run()
        pool.put("c/f", b"content")
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"], s["already_linked"]), (0, 1, 2))
        pool.expect_linked("a/f", "b/f", "c/f")


@case("a file that became identical again is shared again")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content")
        pool.run()
        os.unlink(pool.at("b/f"))
        pool.put("b/f", b"another")
        expect_equal(pool.run()["linked"], 0)
        os.unlink(pool.at("b/f"))
        pool.put("b/f", b"content")
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"]), (0, 1))
        pool.expect_linked("a/f", "b/f", "c/f")


@case("an object that no guest uses any more takes new links")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content", guests="ab")
        pool.run()
        os.unlink(pool.at("a/f"))
        os.unlink(pool.at("b/f"))
        pool.put("c/f", b"content")
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"]), (0, 1))


@case("identical files of one guest are shared as well")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(5):
            pool.put("a/%d/f" % i, b"content")
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"]), (1, 4))


@case("files of one size, mode, owner and mtime but several contents find their own kind")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(200):
            pool.put_all("f%d" % i, b"%04d" % (i % 100))
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"]), (100, 500))
        for i in range(100):
            pool.expect_linked("a/f%d" % i, "c/f%d" % (i + 100))


@case("sparse files stay sparse")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", [(0, b"head"), (3 << 20, b"middle"), (8 << 20, b"")], holes=True)
        sync(pool.path)
        blocks = os.lstat(pool.at("a/f")).st_blocks
        s = pool.run()
        pool.expect_linked("a/f", "b/f", "c/f")
        expect(os.lstat(pool.at("b/f")).st_blocks <= blocks + 8, "holes were filled")
        expect_equal(s["bytes_freed"], 2 * blocks * 512, "bytes freed")


@case("files that were only just written are shared, and stay exact")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(20):
            pool.put_all("f%d" % i, tree.noise(i, 50_000))
        before = full_inventory(pool.path)
        s = summary(pool.path)
        expect_same(before, full_inventory(pool.path), "changed by a pass")
        expect_equal(s["linked"], 40)


@case("--sync=none shares the same")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        before = full_inventory(pool.path)
        foretold = summary("-n", pool.path)
        s = summary("--sync=none", pool.path)
        expect_same(before, full_inventory(pool.path), "changed by a pass")
        expect_equal(s["linked"], foretold["linked"])


sys.exit(cases.run(None))
