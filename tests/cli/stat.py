"""hashify stat: each figure against what the filesystem says."""
import os
import sys

import cases
import kernel
import tree
from cases import case, expect, expect_equal
from cli import command, new_pool, shared_pool, stamps, summary, sync

TOP = sys.argv[1]


def look(pool):
    before = stamps(pool.path), sorted(os.walk(pool.at(".hash")))
    s = summary("stat", pool.path)
    expect_equal((stamps(pool.path), sorted(os.walk(pool.at(".hash")))), before, "changed by stat")
    return s


def truth(pool):
    """What stat should say, counted name by name."""
    objects = {os.lstat(o).st_ino: o for o in pool.objects()}
    names = {ino: [] for ino in objects}
    for g in os.listdir(pool.path):
        if g == ".hash":
            continue
        for d, _, files in os.walk(pool.at(g)):
            for n in files:
                ino = os.lstat(os.path.join(d, n)).st_ino
                if ino in names:
                    names[ino].append(g)
    t = dict(objects=len(objects), links=sum(map(len, names.values())), disk_bytes=0, disk_saved=0, ram_bytes=0,
             ram_saved=0, unused=0, unused_bytes=0)
    for ino, path in objects.items():
        taken = os.lstat(path).st_blocks * 512
        fd = os.open(path, os.O_RDONLY)
        cached = kernel.cached_pages(fd) * kernel.PAGE
        os.close(fd)
        t["ram_bytes"] += cached
        if not names[ino]:
            t["unused"] += 1
            t["unused_bytes"] += taken
            continue
        t["disk_bytes"] += taken
        t["disk_saved"] += taken * (len(names[ino]) - 1)
        t["ram_saved"] += cached * (len(set(names[ino])) - 1)
    return t


@kernel.undisturbed
def expect_truth(pool):
    s, t = look(pool), truth(pool)
    expect_equal({k: s[k] for k in t}, t)
    return s


def fill(pool):
    for i in range(20):
        pool.put_all("f%d" % i, tree.noise(i, 1 + i * 10_000), guests="abcd"[:2 + i % 3])
    pool.put("a/again", tree.noise(19, 1 + 19 * 10_000))
    pool.put("a/own", b"own")


@case("objects, links, disk and memory are what the filesystem says")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        sync(pool.path)
        summary(pool.path)
        s = expect_truth(pool)
        expect_equal((s["guests"], s["objects"], s["variants"], s["unused"], s["errors"]), (4, 20, 0, 0, 0))


@case("memory saved is what was read, once for each further guest")
def _(_):
    with new_pool(TOP) as pool, kernel.caches_alone():
        fill(pool)
        summary(pool.path)
        kernel.drop_caches()
        s = expect_truth(pool)
        expect_equal((s["ram_bytes"], s["ram_saved"]), (0, 0))

        size = os.path.getsize(pool.at("a/f8"))  # in a, b, c and d
        with open(pool.at("b/f8"), "rb") as f:
            f.read()
        pages = -(-size // kernel.PAGE) * kernel.PAGE
        s = expect_truth(pool)
        expect_equal((s["ram_bytes"], s["ram_saved"]), (pages, 3 * pages))

        for g in "abcd":  # reading it elsewhere costs nothing
            with open(pool.at(g, "f8"), "rb") as f:
                f.read()
        s = expect_truth(pool)
        expect_equal((s["ram_bytes"], s["ram_saved"]), (pages, 3 * pages))


@case("an object that nobody uses saves nothing")
def _(_):
    with shared_pool(TOP, guests="ab", f=b"content") as pool:
        for g in "ab":
            os.unlink(pool.at(g, "f"))
        s = expect_truth(pool)
        expect_equal((s["unused"], s["links"], s["disk_saved"], s["ram_saved"]), (1, 0, 0, 0))


@case("a damaged object is named, and the others are counted")
def _(_):
    with shared_pool(TOP, f=b"content", g=b"another content") as pool:
        for name in os.listxattr(pool.at("a/f")):
            os.removexattr(pool.at("a/f"), name)
        s = summary("stat", pool.path, status=1)
        expect_equal((s["objects"], s["errors"]), (2, 1))
        expect(b".hash/objects/" in command("stat", pool.path).stderr, "the object is not named")


sys.exit(cases.run(None))
