"""With digests of 8 bits nearly every file has the digest of others that it is not like."""
import os
import random
import signal
import subprocess
import sys
import time

import cases
import tree
from cases import case, expect, expect_equal
from cli import FULL, HASHIFY, MORTAL, new_pool, summary

TOP = sys.argv[1]
COUNT = 8000 if FULL else 1500
KILLS = 60 if FULL else 8
LARGE = 70_000  # is hashed and compared in pieces


def rel(i):
    return "d%d/f%d" % (i % 20, i)


def fill(pool, guests, count, content, **kw):
    for i in range(count):
        for g in guests:
            pool.put(g + "/" + rel(i), content(i), **{k: v(i) for k, v in kw.items()})


def small(i):
    return b"%08d" % i


def large(i):
    """Differs in the last byte but four from its neighbours."""
    return tree.noise("all", LARGE - 8) + b"%08d" % i


def expect_own_content(pool, guests, count, content):
    wrong = [g + "/" + rel(i) for i in range(count) for g in guests if tree.slurp(pool.at(g, rel(i))) != content(i)]
    expect(not wrong, len(wrong), "files have another's content:", *wrong[:10])


def expect_kinds(pool, count, kinds, guests="abc"):
    """Each file is linked to those of its own kind, and there are @kinds of them."""
    inodes = {}
    for i in range(count):
        pool_inodes = {pool.inode(g + "/" + rel(i)) for g in guests}
        expect_equal(len(pool_inodes), 1, "inodes of " + rel(i))
        inodes.setdefault(pool_inodes.pop(), i)
    expect_equal(len(inodes), kinds, "inodes")


def expect_digests(pool, most):
    names = [os.path.basename(o).split("-") for o in pool.objects()]
    expect(len({n[0] for n in names}) <= most, "digests have more than 8 bits, this proves nothing")
    expect(max(int(n[3], 16) for n in names) >= 1, "no two objects have one digest, this proves nothing")


@case("files whose digests are equal are told apart by their bytes")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, "abc", COUNT, small)
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"], s["errors"]), (COUNT, 2 * COUNT, 0))
        expect_own_content(pool, "abc", COUNT, small)
        expect_kinds(pool, COUNT, COUNT)
        expect_digests(pool, 256)

        # The next passes find objects, not files: again only bytes tell which.
        s = pool.run()
        expect_equal((s["already_linked"], s["linked"], s["objects_created"]), (3 * COUNT, 0, 0))
        order = list(range(COUNT + 100))
        random.Random(1).shuffle(order)
        for i in order:
            pool.put("d/" + rel(i), small(i))
        s = pool.run()
        expect_equal((s["linked"], s["objects_created"], s["skipped"]["alone"]), (COUNT, 0, 100))
        expect_own_content(pool, "abcd", COUNT, small)
        expect_own_content(pool, "d", COUNT + 100, small)
        expect_kinds(pool, COUNT, COUNT, "abcd")


@case("an object that has lost its last name, or an old one whose place is free, is nobody else's")
def _(_):
    with new_pool(TOP) as pool:
        count = COUNT // 3
        fill(pool, "ab", count, small)
        pool.run()
        of = {pool.inode("a/" + rel(i)): i for i in range(count)}
        gone = set()
        for path in sorted(pool.objects())[::3]:  # as collecting garbage will do: variants have gaps
            i = of[os.lstat(path).st_ino]
            gone.add(i)
            for name in (path, pool.at("a", rel(i)), pool.at("b", rel(i))):
                os.unlink(name)
        for i in range(count):
            pool.put("c/" + rel(i), small(i))
            if i in gone:
                pool.put("a/" + rel(i), small(i))
                pool.put("b/" + rel(i), small(i))
        s = pool.run()
        expect_equal((s["errors"], s["skipped"]["alone"]), (0, 0))
        expect_own_content(pool, "abc", count, small)
        expect_kinds(pool, count, count)


@case("large files whose digests are equal")
def _(_):
    with new_pool(TOP) as pool:
        count = COUNT // 10 + 300
        fill(pool, "ab", count, large)
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"], s["errors"]), (count, count, 0))
        expect_own_content(pool, "ab", count, large)
        expect_kinds(pool, count, count, "ab")
        expect_digests(pool, 256)


@case("one content under many sets of xattrs whose digests are equal")
def _(_):
    with new_pool(TOP) as pool:
        count = COUNT // 2
        fill(pool, "abc", count, lambda i: b"the same everywhere", xattrs=lambda i: {"user.a": b"%d" % i})
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"], s["errors"]), (count, 2 * count, 0))
        expect_kinds(pool, count, count)
        for i in range(count):
            for g in "abc":
                expect_equal(os.getxattr(pool.at(g, rel(i)), "user.a"), b"%d" % i, g + "/" + rel(i))
        expect_digests(pool, 1)


@case("one content under many owners, modes and times whose digests are equal")
def _(_):
    with new_pool(TOP) as pool:
        count = COUNT // 2
        fill(pool, "abc", count, lambda i: b"the same everywhere", uid=lambda i: i % 7, mode=lambda i: 0o600 + i % 5,
             mtime=lambda i: tree.OLD + i // 35)
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"], s["errors"]), (count, 2 * count, 0))
        expect_kinds(pool, count, count)
        expect_digests(pool, 1)


@case("a pass over colliding files may be killed at any moment")
def _(_):
    with new_pool(TOP) as pool:
        count = COUNT // 5
        fill(pool, "abc", count, small)
        rng = random.Random(0)
        begun = time.monotonic()
        summary("-n", pool.path)
        duration = 2 * (time.monotonic() - begun)
        hit = tried = 0
        while hit < KILLS:
            expect(tried < 5 * KILLS, "only", hit, "of", tried, "passes were hit")
            for i in rng.sample(range(count), count // 2):
                os.unlink(pool.at("b", rel(i)))
                pool.put("b/" + rel(i), small(i))
            p = subprocess.Popen([HASHIFY, pool.path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=MORTAL)
            time.sleep(rng.uniform(0, duration))  # the moment of the kill, not a wait for anything
            p.kill()
            hit, tried = hit + (p.wait() == -signal.SIGKILL), tried + 1
            expect_own_content(pool, "abc", count, small)
        s = summary(pool.path)
        expect_equal((s["errors"], os.listdir(pool.at(".hash/tmp"))), (0, []), "errors, left in tmp/")
        expect_own_content(pool, "abc", count, small)
        expect_kinds(pool, count, count)
        print("      %d of %d passes were hit" % (hit, tried))


sys.exit(cases.run(None))
