"""What becomes shared, and that nothing else changes."""
import os
import sys

import cases
import kernel
import tree
from cases import case, expect, expect_equal
from cli import command, constant, expect_same, full_inventory, new_pool, stamps, summary, sync

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


def in_parts(s):
    """What does not depend on how much there is at a time."""
    return {k: v for k, v in constant(s).items() if k != "would_free"}


@case("with little memory the guests are walked in parts, and the result is the same")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(2000):
            pool.put_all("d%d/f%d" % (i % 7, i), tree.noise(i % 1500, 100 + i % 1500))
        pool.put("a/own", b"own")
        os.mkfifo(pool.at("a/fifo"))
        pool.settle()
        plain = in_parts(summary("--dry-run", pool.path))
        for memory in ("1", "100K", "300K", "100M"):
            expect_equal(in_parts(summary("--dry-run", "--memory=" + memory, pool.path)), plain, memory)
        before = full_inventory(pool.path)
        s = summary("--memory=100K", pool.path)
        expect_same(before, full_inventory(pool.path), "changed by a pass")
        expect_equal(in_parts(s), plain)
        expect_equal(summary("--memory=100K", pool.path)["already_linked"], 6000)


@case("with little memory each name is told once as well")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(1500):
            pool.put_all("d%d/f%d" % (i % 7, i), tree.noise(i % 1000, 100 + i % 1000))
        for g in "abc":
            os.mkfifo(pool.at(g, "fifo"))
            os.symlink("f", pool.at(g, "d1/link"))
        pool.settle()
        plain = sorted(command("--dry-run", "-v", pool.path).stderr.splitlines())
        parts = sorted(command("--dry-run", "-v", "--memory=100K", pool.path).stderr.splitlines())
        names = [line.split(b": ")[1] for line in parts]
        expect_equal(names, [line.split(b": ")[1] for line in plain], "names")
        expect_equal(len(set(names)), 1501 * 3 + 3, "names")


@case("directories take of the memory as well, and are no reason to fail")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(1500):  # about 90 KB
            pool.put("a/f%d" % i, tree.noise(i, 100))
        pool.settle()

        def in_one(memory):
            return summary("--dry-run", "--memory=" + memory, pool.path)["would_free"] is not None

        expect(in_one("150K"), "walked in parts")
        for i in range(3000):  # about 120 KB
            os.mkdir(pool.at("a/d%d" % i))
        expect(not in_one("150K"), "walked in one part")
        expect(in_one("300K"), "walked in parts")
        plain = in_parts(summary("--dry-run", pool.path))
        expect_equal(in_parts(summary("--dry-run", "--memory=1", pool.path)), plain)


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


HOLES = {
    "in the middle and at the end": [(0, b"head"), (300 << 10, b"middle"), (800 << 10, b"")],
    "at the beginning": [(900 << 10, b"tail" * 3000), ((900 << 10) + 12000, b"")],
    "and nothing else": [(1 << 20, b"")],
    "of a large file, but for a sixteenth": [(2 << 20, b"data" * (128 << 10)), (8 << 20, b"")],
    "of one block": [(0, b"x" * 4096), (8192, b"y" * 4096), (12288, b"")],
}


@case("sparse files stay sparse")
def _(_):
    for name, content in HOLES.items():
        with new_pool(TOP) as pool:
            pool.put_all("f", content, holes=True)
            sync(pool.path)
            blocks = os.lstat(pool.at("a/f")).st_blocks
            s = pool.run()
            pool.expect_linked("a/f", "b/f", "c/f")
            sync(pool.path)
            # A mark that does not fit into the inode takes a block.
            expect(os.lstat(pool.at("b/f")).st_blocks <= blocks + 8, "holes " + name + " were filled")
            expect_equal(s["bytes_freed"], 2 * blocks * 512, "bytes freed, holes " + name)
            expect_equal(os.lstat(pool.at("b/f")).st_size, content[-1][0], "size, holes " + name)


@case("a sparse file and a dense one of the same bytes take no more room than before")
def _(_):
    size = 1 << 20
    kinds = [dict(content=[(0, b"head"), (size, b"")], holes=True), dict(content=b"head" + b"\0" * (size - 4))]
    for first, second in (kinds, kinds[::-1]):  # the first becomes the object
        with new_pool(TOP) as pool:
            pool.put("a/f", **first)
            pool.put("b/f", **second)
            sync(pool.path)
            before = sorted(os.lstat(pool.at(n)).st_blocks for n in ("a/f", "b/f"))
            s = pool.run()
            sync(pool.path)
            pool.expect_linked("a/f", "b/f")
            expect(os.lstat(pool.at("a/f")).st_blocks <= before[1] + 8, "more blocks than the dense one had")
            expect(s["bytes_freed"] in [n * 512 for n in before], "freed", s["bytes_freed"], "of", before, "blocks")


@case("preallocated room beyond the end of a file changes nothing")
def _(_):
    if os.environ.get("FS_KIND") == "tmpfs":
        raise cases.NotHere("tmpfs trims")
    with new_pool(TOP) as pool:
        for g in "abc":
            path = pool.put(g + "/f", b"content" * 1000)
            if g != "b":
                with open(path, "r+b") as f:
                    kernel.fallocate(f.fileno(), kernel.KEEP_SIZE, 0, 1 << 20)
                os.utime(path, ns=(tree.OLD, tree.OLD))
        expect_equal(pool.run()["linked"], 2)
        pool.expect_linked("a/f", "b/f", "c/f")


XATTRS = {
    "two, set in another order": ({"user.a": b"1", "user.b": b"2"}, {"user.b": b"2", "user.a": b"1"}, True),
    "a value of 2000 bytes": ({"user.a": b"x" * 2000}, {"user.a": b"x" * 2000}, True),
    "a value that differs in its last byte": ({"user.a": b"x" * 2000}, {"user.a": b"x" * 1999 + b"y"}, False),
    "an empty value and none": ({"user.a": b""}, {}, False),
    "an empty value": ({"user.a": b""}, {"user.a": b""}, True),
    "a NUL more": ({"user.a": b"1"}, {"user.a": b"1\0"}, False),
    "the boundary between name and value": ({"user.ab": b"c"}, {"user.a": b"bc"}, False),
    "another namespace": ({"user.a": b"1"}, {"trusted.a": b"1"}, False),
    "security": ({"security.a": b"1"}, {"security.a": b"2"}, False),
    "capabilities": ({"security.capability": tree.CAP_NET_RAW}, {"security.capability": tree.CAP_NET_RAW}, True),
    "another capability": ({"security.capability": tree.CAP_NET_RAW},
                           {"security.capability": tree.CAP_NET_RAW[:4] + b"\0\4" + tree.CAP_NET_RAW[6:]}, False),
}


@case("xattrs decide identity, whatever their order, and nothing but what differs keeps files apart")
def _(_):
    for name, (one, other, same) in XATTRS.items():
        with new_pool(TOP) as pool:
            try:
                pool.put("a/f", b"content", mode=0o755, xattrs=one)
                pool.put("b/f", b"content", mode=0o755, xattrs=other)
            except OSError:  # tmpfs without user. xattrs, or with little room for them
                continue
            pool.run()
            expect_equal(pool.linked("a/f", "b/f"), same, name)


@case("ACLs decide identity")
def _(_):
    def acl(perm):
        return {"system.posix_acl_access": tree.acl((tree.USER_OBJ, 6, 0), (tree.USER, perm, 1000), (tree.GROUP_OBJ, 4, 0),
                                                    (tree.MASK, 6, 0), (tree.OTHER, 4, 0))}
    with new_pool(TOP) as pool:
        pool.put("a/f", b"content", xattrs=acl(4))
        pool.put("b/f", b"content", xattrs=acl(6))
        pool.put("c/f", b"content", xattrs=acl(4))
        expect_equal(pool.run()["linked"], 1)
        pool.expect_linked("a/f", "c/f")
        pool.expect_private("b/f")


def names_of(pool, *rels):
    st = [os.lstat(pool.at(r)) for r in rels]
    return {(s.st_ino, s.st_nlink) for s in st}


@case("hard links of a guest stay linked to each other and to nothing else")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("one/f", b"content")
        pool.put_all("lone", b"content")
        for g in "ab":
            os.mkdir(pool.at(g, "two"))
            for n in ("two/g", "two/h"):
                os.link(pool.at(g, "one/f"), pool.at(g, n))
        trios = {g: names_of(pool, g + "/one/f", g + "/two/g", g + "/two/h") for g in "ab"}
        for _ in range(2):  # that the content is an object by then makes no difference
            s = pool.run()
            expect_equal(s["skipped"]["hard_linked"], 6)
            for g in "ab":
                expect_equal(names_of(pool, g + "/one/f", g + "/two/g", g + "/two/h"), trios[g], "inode and names")
                expect_equal(len(trios[g]), 1)
            pool.expect_linked("a/lone", "b/lone", "c/lone", "c/one/f")

        with open(pool.at("a/two/g"), "r+b") as f:  # writing through one name shows under the others
            f.write(b"CONTENT")
        expect_equal([tree.slurp(pool.at("a", n)) for n in ("one/f", "two/h")], [b"CONTENT"] * 2)
        expect_equal([tree.slurp(pool.at("b", n)) for n in ("one/f", "two/g", "lone")], [b"content"] * 3)

        for n in ("two/g", "two/h"):
            os.unlink(pool.at("b", n))
        pool.run()
        pool.expect_linked("b/one/f", "c/one/f")  # it has one name now


@case("hard links between guests stay what they are, and get a name in the store")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/f", b"content")
        os.mkdir(pool.at("b"))
        os.link(pool.at("a/f"), pool.at("b/f"))
        pool.put("c/f", b"content")
        before = names_of(pool, "a/f", "b/f")
        expect_equal(pool.run()["linked"], 0)
        (ino, names), = before
        expect_equal((names, names_of(pool, "a/f", "b/f")), (2, {(ino, 3)}))
        os.lstat(pool.at(".hash/held/%d" % ino))
        expect_equal(pool.run()["hard_links_marked"], 0)


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
