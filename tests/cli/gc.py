"""hashify gc: what goes, what stays, and who may be there meanwhile."""
import fcntl
import os
import subprocess
import sys

import cases
import tree
from cases import case, expect, expect_equal
from cli import command, full_inventory, mounted, new_pool, shared_pool, stamps, summary, sync

TOP = sys.argv[1]


def names_of(pool, ino):
    return [o for o in pool.objects() if os.lstat(o).st_ino == ino]


def gc(pool, *args, **kw):
    """A gc, which a dry run foretells, and which no guest may notice."""
    sync(pool.path)  # what is not allocated yet has other blocks afterwards
    before = sorted(pool.objects())
    foretold = summary("gc", "-n", pool.path)
    expect_equal(sorted(pool.objects()), before, "objects after a dry run")
    guests = full_inventory(pool.path), stamps(pool.path)
    s = summary("gc", pool.path, *args, **kw)
    expect_equal((full_inventory(pool.path), stamps(pool.path)), guests, "guests after gc")
    expect_equal(dict(foretold, dry_run=False), s, "a dry run foretold otherwise")
    expect_equal(len(before) - len(pool.objects()), s["removed"], "objects removed")
    return s


def drop(pool, rel, guests="abc"):
    for g in guests:
        os.unlink(pool.at(g, rel))


@case("unused objects go, and what they took is counted; the others stay")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("kept", tree.noise(1, 50_000))
        pool.put_all("gone", tree.noise(2, 70_000))
        pool.put_all("left", tree.noise(3, 90_000))
        summary(pool.path)
        sync(pool.path)
        blocks = os.lstat(pool.at("a/gone")).st_blocks * 512
        drop(pool, "gone")
        drop(pool, "left", "ab")  # one name is left
        s = gc(pool)
        expect_equal((s["removed"], s["bytes_freed"], s["kept"], s["foreign"], s["errors"]), (1, blocks, 2, 0, 0))
        expect_equal(len(names_of(pool, pool.inode("c/left"))), 1)
        s = gc(pool)
        expect_equal((s["removed"], s["bytes_freed"], s["kept"]), (0, 0, 2))
        expect_equal(summary("stat", pool.path)["unused"], 0)
        pool.put_all("gone", tree.noise(2, 70_000))  # and it can come again
        summary(pool.path)
        pool.expect_linked("a/gone", "b/gone", "c/gone")


@case("what is no object is counted and left alone")
def _(_):
    with shared_pool(TOP, f=b"content") as pool:
        object, = pool.objects()
        drop(pool, "f")
        shard = os.path.dirname(object)
        digest = os.path.basename(object)[:32]
        foreign = [shard + "/readme", pool.at(".hash/objects/file"), shard + "/" + digest + "-07-0000000000000000-0"]
        for path in foreign:
            open(path, "w").close()
        os.symlink("readme", object[:-1] + "1")  # is called like an object
        os.mkdir(object[:-1] + "2")
        s = gc(pool)
        expect_equal((s["removed"], s["foreign"]), (1, 5))
        expect(not os.path.exists(object), "the object is still there")
        for path in foreign + [object[:-1] + "1", object[:-1] + "2"]:
            expect(os.path.lexists(path), path, "is gone")


@case("-v names what it removes, and a dry run what it would")
def _(_):
    with shared_pool(TOP, f=b"content") as pool:
        drop(pool, "f")
        name = os.path.basename(pool.objects()[0]).encode()
        r = command("gc", "-nv", pool.path)
        expect(name in r.stderr and b"would be removed" in r.stderr, r.stderr)
        expect(b"1 unused object would be removed" in r.stdout, r.stdout)
        r = command("gc", "-v", pool.path)
        expect(name in r.stderr and b"would" not in r.stderr, r.stderr)
        expect(b"1 unused object removed" in r.stdout, r.stdout)


@case("an object that cannot be removed is named, and the others go")
def _(_):
    with shared_pool(TOP, f=b"content", g=b"another content") as pool:
        held, = names_of(pool, pool.inode("a/f"))
        drop(pool, "f")
        drop(pool, "g")
        subprocess.run(["chattr", "+i", held], check=True)
        try:
            s = summary("gc", pool.path, status=1)
            expect_equal((s["removed"], s["errors"]), (1, 1))
            r = command("gc", pool.path)
            expect(os.path.basename(held).encode() in r.stderr and b"expected" in r.stderr, r.stderr)
        finally:
            subprocess.run(["chattr", "-i", held], check=True)
        expect_equal(gc(pool)["removed"], 1)


@case("an object that a displaced file is to be compared with stays until then")
def _(_):
    with shared_pool(TOP, f=b"content", g=b"another content") as pool:
        object, = names_of(pool, pool.inode("a/f"))
        # As a pass leaves it that is killed after an exchange, when the guest has removed the link since.
        tree.put(pool.at(".hash/tmp", os.path.basename(object) + ".0.0"), b"content")
        drop(pool, "f")
        drop(pool, "g")
        s = gc(pool)
        expect_equal((s["removed"], s["kept"]), (1, 1))
        tree.put(pool.at(".hash/tmp/kept-of-old"), b"old")
        expect_equal(summary(pool.path)["recovered"], {"removed": 1, "put_back": 0, "kept": 0, "kept_before": 1})
        expect(os.path.exists(pool.at(".hash/tmp/kept-of-old")), "what was kept is gone")
        expect_equal(gc(pool)["removed"], 1)


@case("beside a live mount: who has a removed object open goes on reading and mapping it")
def _(_):
    with new_pool(TOP) as pool:
        content = tree.noise(1, 3_000_000)
        pool.put_all("f", content)
        pool.put_all("kept", tree.noise(2, 100_000))
        summary(pool.path)
        with mounted(pool.path, TOP + "/mnt") as mnt:
            with open(mnt + "/a/f", "rb", buffering=0) as f:
                expect_equal(f.read(1000), content[:1000])
                for g in "abc":
                    os.unlink("%s/%s/f" % (mnt, g))
                expect_equal(gc(pool)["removed"], 1)
                sync(pool.path)
                f.seek(0)
                expect(f.read(len(content) + 1) == content, "other bytes are read")
                expect_equal(os.fstat(f.fileno()).st_size, len(content))
            # The mount goes on: other links are read and broken, new files come, which may reuse the inode.
            for i in range(20):
                tree.put("%s/a/new%d" % (mnt, i), tree.noise(i, 5000))
            for i in range(20):
                expect(tree.slurp("%s/a/new%d" % (mnt, i)) == tree.noise(i, 5000), "new file", i)
            with open(mnt + "/a/kept", "r+b") as f:
                f.write(b"x")
            expect_equal(tree.slurp(mnt + "/b/kept"), tree.noise(2, 100_000))
            for i in range(20):  # what was gone before may be written again
                tree.put("%s/%s/f" % (mnt, "abc"[i % 3]), tree.noise(i, 100))
                expect(tree.slurp("%s/%s/f" % (mnt, "abc"[i % 3])) == tree.noise(i, 100), "again", i)
                os.unlink("%s/%s/f" % (mnt, "abc"[i % 3]))


@case("beside a live mount: an object is kept until the last link is broken, and goes then")
def _(_):
    with shared_pool(TOP, guests="ab", f=b"content") as pool:
        with mounted(pool.path, TOP + "/mnt") as mnt:
            for g, left in (("a", 1), ("b", 0)):
                with open("%s/%s/f" % (mnt, g), "ab") as f:
                    f.write(g.encode())
                summary("gc", pool.path)
                expect_equal(len(pool.objects()), left)
            expect_equal((tree.slurp(mnt + "/a/f"), tree.slurp(mnt + "/b/f")), (b"contenta", b"contentb"))
        expect_equal((tree.slurp(pool.at("a/f")), tree.slurp(pool.at("b/f"))), (b"contenta", b"contentb"))


@case("beside another hashify it is refused, and changes nothing")
def _(_):
    with shared_pool(TOP, f=b"content") as pool:
        drop(pool, "f")
        before = pool.objects()
        with open(pool.at(".hash/pass")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            r = command("gc", pool.path)
            expect_equal((r.returncode, r.stdout), (2, b""))
            for word in (b"in use", b"another hashify", b"again"):
                expect(word in r.stderr, word, "is not said:", r.stderr)
            expect_equal(pool.objects(), before)
        with open(pool.at(".hash/lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)  # a mount
            expect_equal(summary("gc", pool.path)["removed"], 1)


@case("where there is no store there is nothing to do, and none is made")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/f", b"content")
        for args in (("gc",), ("gc", "-n")):
            r = command(*args, pool.path)
            expect_equal(r.returncode, 2)
            expect(b"no store" in r.stderr and b"run hashify" in r.stderr, r.stderr)
        expect_equal(os.listdir(pool.path), ["a"])


@case("-q says nothing where all is well")
def _(_):
    with shared_pool(TOP, f=b"content") as pool:
        for args in (("gc", "-q"), ("verify", "-q"), ("-q", "--guest=a/")):
            r = command(*args, pool.path)
            expect_equal((r.returncode, r.stdout, r.stderr), (0, b"", b""), " ".join(args))
        with open(pool.at("a/f"), "r+b") as f:
            f.write(b"C")
        expect(b"3 names in guests" in command("verify", "-q", pool.path).stdout, "nor where it is not")
        r = command("gc", "-q", "-v", pool.path)
        expect(r.returncode == 2 and b"exclude each other" in r.stderr, r.stderr)


@case("help tells of the exit status")
def _(_):
    r = command("gc", "--help")
    expect_equal((r.returncode, r.stderr), (0, b""))
    for word in (b"--dry-run", b"--json", b"Exit status"):
        expect(word in r.stdout, word)


sys.exit(cases.run(None))
