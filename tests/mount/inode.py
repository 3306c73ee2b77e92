#!/usr/bin/env python3
"""Link counts and inode numbers, as programs that compare them see them. Run by on_guests."""
import fcntl
import os
import subprocess
import sys

import guests
import kernel
import tree
from cases import case, expect, expect_equal, expect_soon

TEXT = tree.noise("text", 9000)
NAMES = ("n%d" % i for i in range(1000))  # a fresh pair of links for every case


def seed(pool):
    for g in "abc":
        top = pool + "/" + g
        for i in range(60):
            tree.put("%s/links/n%d" % (top, i), TEXT)
        for i in range(20):
            tree.put("%s/tree/sub%d/deep/f" % (top, i), TEXT)
        tree.put(top + "/own/x", tree.noise("own", 9000))
        os.link(top + "/own/x", top + "/own/y")
        for i in range(3):
            tree.put("%s/mixed/link%d" % (top, i), TEXT)
            tree.put("%s/mixed/private%d" % (top, i), tree.noise((g, i), 3000))
        os.symlink("link0", top + "/mixed/symlink")
        os.mkfifo(top + "/mixed/fifo")
        tree.settle(top)


def ino(path):
    return os.lstat(path).st_ino


def fresh(t):
    """The path of a link that no case has touched."""
    name = "links/" + next(NAMES)
    t.expect_link(name)
    return t.mounted(name)


def write(path, data=b"changed"):
    with open(path, "r+b") as f:
        f.write(data)


def walk(top):
    for d, dirs, files in os.walk(top):
        for n in dirs + files:
            yield d + "/" + n


@case("a link shows one name and does not change natively")
def _(t):
    p = fresh(t)
    expect_equal(os.lstat(p).st_nlink, 1)
    fd = os.open(p, os.O_RDONLY)
    expect_equal(os.fstat(fd).st_nlink, 1)
    os.close(fd)


@case("two names of one object are two files")
def _(t):
    a, b = fresh(t), fresh(t)
    expect(not os.path.samefile(a, b), "they have one inode number")
    write(a)
    expect_equal(tree.slurp(b), TEXT)
    expect_equal(os.lstat(b).st_nlink, 1)


@case("no two names share an inode number, but for hard links of the guest's own")
def _(t):
    seen = {}
    for p in walk(t.mounted("")):
        st = os.lstat(p)
        other = seen.setdefault(st.st_ino, p)
        expect(other == p or p.split("/")[-2] == "own", p, "and", other, "have one number")
    expect(len(seen) > 80)


@case("the inode number stays when caches are dropped, when the link is broken, and when both happen")
def _(t):
    for change in (lambda p: None, write, lambda p: os.chmod(p, 0o600), lambda p: os.truncate(p, 0)):
        p = fresh(t)
        before = ino(p)
        kernel.drop_caches()
        expect_equal(ino(p), before, "after drop_caches")
        change(p)
        expect_equal(ino(p), before, "after the change")
        kernel.drop_caches()
        expect_equal(ino(p), before, "after the change and drop_caches")


@case("a rename keeps the inode number, of links and of what was one, also in another directory")
def _(t):
    for change in (lambda p: None, write):
        p = fresh(t)
        os.makedirs(t.mounted("moved"), exist_ok=True)
        before = ino(p)
        q = t.mounted("moved/" + os.path.basename(p))
        os.rename(p, q)
        expect_equal(ino(q), before, "after rename")
        change(q)
        kernel.drop_caches()
        expect_equal(ino(q), before, "after rename and drop_caches")
        os.rename(q, q + ".2")
        expect_equal(ino(q + ".2"), before, "after a second rename")


@case("a link that takes the old name of another has its own number")
def _(t):
    a, b = fresh(t), fresh(t)
    of_a, of_b = ino(a), ino(b)
    os.rename(a, a + ".old")
    os.rename(b, a)
    for _ in range(2):
        expect_equal((ino(a + ".old"), ino(a)), (of_a, of_b))
        kernel.drop_caches()
    write(a)
    write(a + ".old", b"other")
    expect_equal((ino(a + ".old"), ino(a)), (of_a, of_b), "after both were broken")
    expect_equal((tree.slurp(a)[:7], tree.slurp(a + ".old")[:5]), (b"changed", b"other"))


@case("a file made where a link was renamed away has another number")
def _(t):
    a = fresh(t)
    before = ino(a)
    os.rename(a, a + ".old")
    with open(a, "wb") as f:
        f.write(b"new")
    kernel.drop_caches()
    expect(ino(a) != before, "the new file has the old one's number")
    expect_equal(ino(a + ".old"), before)


@case("a renamed directory keeps the numbers of the links in it")
def _(t):
    d = t.mounted("tree/sub1")
    before = ino(d + "/deep/f")
    os.rename(d, t.mounted("renamed"))
    expect_equal(ino(t.mounted("renamed/deep/f")), before)
    kernel.drop_caches()
    expect_equal(ino(t.mounted("renamed/deep/f")), before, "after drop_caches")
    write(t.mounted("renamed/deep/f"))
    expect_equal(ino(t.mounted("renamed/deep/f")), before, "after the break")


@case("readdir gives the numbers that stat gives, before and after a break, a rename and a new file")
def _(t):
    def check():
        for d in ("", "mixed", "own", "links", "tree", "tree/sub2", "tree/sub2/deep"):
            top = t.mounted(d)
            for e in os.scandir(top):
                expect_equal(e.inode(), ino(e.path), d + "/" + e.name)
    check()
    kernel.drop_caches()
    check()
    write(t.mounted("mixed/link0"))
    os.rename(t.mounted("mixed/link1"), t.mounted("mixed/link9"))
    with open(t.mounted("mixed/new"), "wb") as f:
        f.write(TEXT)
    check()
    kernel.drop_caches()
    check()


@case("a directory's own number is that of . in it and of .. below it")
def _(t):
    d = t.mounted("tree/sub3")
    for where, name in ((d, "."), (d + "/deep", "..")):
        expect_equal(ino(where + "/" + name), ino(d))
    # The C library gives . and .. of readdir, Python does not: ls does.
    out = subprocess.run(["ls", "-fia", d + "/deep"], stdout=subprocess.PIPE, check=True).stdout.split()
    numbers = dict(zip(out[1::2], map(int, out[0::2])))
    expect_equal(numbers[b"."], ino(d + "/deep"))
    expect_equal(numbers[b".."], ino(d))


@case("lstat, open and fstat agree, for reading and for writing (mail spools, crontab, sudoedit)")
def _(t):
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC):
        p = fresh(t)
        before = os.lstat(p)
        fd = os.open(p, flags)
        st = os.fstat(fd)
        os.close(fd)
        expect_equal((st.st_dev, st.st_ino, st.st_nlink), (before.st_dev, before.st_ino, 1), "flags %o" % flags)


def born(path):
    """Its time of birth (three words), then the rest of its status."""
    return subprocess.run(["stat", "-c", "%w %s %Y %a %u %i %h", path], stdout=subprocess.PIPE, check=True, text=True).stdout.split()


@case("the time of birth is that of the file")
def _(t):
    link = "links/" + next(NAMES)
    t.expect_link(link)
    for rel in (link, "mixed/private0", "mixed", "mixed/symlink", "mixed/fifo"):
        got, native = born(t.mounted(rel)), born(t.native(rel))
        expect(got[0] != "-", "none", rel)
        expect_equal(got[:-2], native[:-2], rel)
    before = born(t.mounted(link))
    expect_equal(before[-2:], [str(ino(t.mounted(link))), "1"], "number and names")
    write(t.mounted(link))
    after = born(t.mounted(link))
    expect(after[:2] > before[:2], "of the private copy", before, after)
    expect_equal(after[-2:], before[-2:])


@case("a change by a descriptor from before a break shows, though the kernel has forgotten the name meanwhile")
def _(t):
    p = fresh(t)
    fd = os.open(p, os.O_RDONLY)
    write(p)
    for mode in (0o600, 0o640, 0o604):
        kernel.drop_caches()
        os.stat(p)
        os.fchmod(fd, mode)
        expect_equal(os.stat(p).st_mode & 0o777, mode)
    os.close(fd)


@case("a descriptor from before a break still has the number of the path")
def _(t):
    p = fresh(t)
    fd = os.open(p, os.O_RDONLY)
    write(p)
    expect_equal(os.fstat(fd).st_ino, ino(p))
    expect_equal(os.fstat(fd).st_nlink, 1)
    fd2 = os.open(p, os.O_RDONLY)
    expect_equal(os.fstat(fd2).st_ino, ino(p))
    expect_equal(os.pread(fd2, 7, 0), b"changed")
    os.close(fd)
    os.close(fd2)


@case("an unlinked open file and its successor are two files")
def _(t):
    p = fresh(t)
    fd = os.open(p, os.O_RDONLY)
    os.unlink(p)
    with open(p, "wb") as f:
        f.write(b"successor")
    expect(os.fstat(fd).st_ino != ino(p), "both have one number")
    expect_equal(os.fstat(fd).st_nlink, 0)
    expect_equal(os.pread(fd, 10_000, 0), TEXT)
    expect_equal(tree.slurp(p), b"successor")
    os.close(fd)


@case("hard links of the guest's own stay one file, and have their own count")
def _(t):
    x, y = t.mounted("own/x"), t.mounted("own/y")
    expect(os.path.samefile(x, y))
    expect_equal((os.lstat(x).st_nlink, os.lstat(y).st_nlink), (2, 2))
    write(x)
    expect_equal(tree.slurp(y)[:7], b"changed")
    os.chmod(y, 0o600)
    expect_equal(os.lstat(x).st_mode & 0o777, 0o600)
    kernel.drop_caches()
    expect(os.path.samefile(x, y), "not one file after drop_caches")
    os.unlink(x)
    expect_equal(os.lstat(y).st_nlink, 1)


@case("ln of a link makes two names of one file, for good")
def _(t):
    p = fresh(t)
    before = ino(p)
    os.link(p, p + ".ln")
    for _ in range(2):
        expect_equal((ino(p), ino(p + ".ln")), (before, before))
        expect_equal((os.lstat(p).st_nlink, os.lstat(p + ".ln").st_nlink), (2, 2))
        kernel.drop_caches()
    write(p + ".ln")
    expect_equal(tree.slurp(p)[:7], b"changed")
    os.rename(p, p + ".away")
    expect(os.path.samefile(p + ".away", p + ".ln"))
    os.unlink(p + ".away")
    expect_equal((os.lstat(p + ".ln").st_nlink, ino(p + ".ln")), (1, before))


@case("ln of an open link: what is written by one name shows by the other")
def _(t):
    p = fresh(t)
    fd = os.open(p, os.O_RDONLY)
    os.link(p, p + ".ln")
    with open(p + ".ln", "ab") as f:
        f.write(b"x" * 1000)
    expect_equal((os.stat(p).st_size, ino(p)), (10_000, ino(p + ".ln")))
    os.close(fd)
    expect_equal(os.stat(p).st_size, 10_000)


@case("a truncation by a descriptor of an open link shows by its name when that is closed")
def _(t):
    p = fresh(t)
    fd = os.open(p, os.O_RDONLY)
    os.truncate("/proc/self/fd/%d" % fd, 100)
    os.close(fd)
    # RELEASE comes after close(2) has returned.
    expect_soon(lambda: os.stat(p).st_size == 100, "the file is as long as it was", seconds=10)
    expect_equal(tree.slurp(p), TEXT[:100])


@case("the descriptor of a link that got more names lives when all are gone")
def _(t):
    p = fresh(t)
    fd = os.open(p, os.O_RDONLY)
    kernel.link_fd(fd, p + ".2")
    kernel.link_fd(fd, p + ".3")
    os.chmod(p + ".2", 0o604)
    for name in (p, p + ".2", p + ".3"):
        os.unlink(name)
    os.fchmod(fd, 0o640)
    os.setxattr(fd, "user.k", b"v")
    expect_equal((os.fstat(fd).st_mode & 0o777, os.listxattr(fd)), (0o640, ["user.k"]))
    os.close(fd)


@case("ln of an open link: the descriptor is the file, too")
def _(t):
    p = fresh(t)
    fd = os.open(p, os.O_RDONLY)
    os.link(p, p + ".ln")
    expect_equal((os.fstat(fd).st_ino, os.fstat(fd).st_nlink), (ino(p), 2))
    expect_equal(os.pread(fd, 10_000, 0), TEXT)
    os.close(fd)


@case("mv a b removes a, where both are links of one object")
def _(t):
    for how in (os.rename, os.replace, lambda a, b: subprocess.run(["mv", "-f", a, b], check=True)):
        a, b = fresh(t), fresh(t)
        of_a = ino(a)
        how(a, b)
        expect(not os.path.lexists(a), "a is still there")
        expect(os.path.basename(a) not in os.listdir(os.path.dirname(a)), "a is still listed")
        expect_equal(tree.slurp(b), TEXT)
        expect_equal(ino(b), of_a, "b is what a was: its number")
        kernel.drop_caches()
        expect(not os.path.lexists(a), "a is there again")
        expect_equal(ino(b), of_a, "after drop_caches")
        expect(not os.path.lexists(t.native("links/" + os.path.basename(a))), "a is there natively")


@case("mv a b where b is open: the descriptor keeps the file that was b")
def _(t):
    a, b = fresh(t), fresh(t)
    fd = os.open(b, os.O_RDONLY)
    os.rename(a, b)
    expect_equal(os.fstat(fd).st_nlink, 0)
    write(b)
    expect_equal(os.pread(fd, 10_000, 0), TEXT)
    expect_equal(tree.slurp(b)[:7], b"changed")
    os.close(fd)


@case("a link and a private file that change places keep their numbers")
def _(t):
    a, b = fresh(t), t.mounted("mixed/private0")
    text = tree.slurp(b)
    of_a, of_b = ino(a), ino(b)
    kernel.renameat2(a, b, kernel.RENAME_EXCHANGE)
    for _ in range(2):
        expect_equal((ino(b), ino(a)), (of_a, of_b))
        expect_equal((tree.slurp(b), tree.slurp(a)), (TEXT, text))
        kernel.drop_caches()


@case("two links of one object that change places keep their numbers")
def _(t):
    a, b = fresh(t), fresh(t)
    of_a, of_b = ino(a), ino(b)
    kernel.renameat2(a, b, kernel.RENAME_EXCHANGE)
    expect_equal((ino(b), ino(a)), (of_a, of_b))
    kernel.drop_caches()
    expect_equal((ino(b), ino(a)), (of_a, of_b), "after drop_caches")


@case("locks of two links are two locks; of one file, one")
def _(t):
    a, b = fresh(t), fresh(t)
    with open(a) as fa, open(b) as fb, open(a) as fa2:
        fcntl.flock(fa, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fb, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(fa2, fcntl.LOCK_EX | fcntl.LOCK_NB)
            expect(False, "two locks of one file")
        except BlockingIOError:
            pass


@case("tar makes no hard links of links, and of the guest's own it does")
def _(t):
    def hard_links(d):
        out = subprocess.run("tar -C %s -cf - . | tar tvf -" % t.mounted(d), shell=True, stdout=subprocess.PIPE, check=True)
        return [line for line in out.stdout.decode().splitlines() if " link to " in line]

    os.link(t.mounted("own/y"), t.mounted("own/z"))
    expect_equal(len(hard_links("own")), 1)
    expect_equal(hard_links("tree"), [])


@case("du counts each link")
def _(t):
    d = t.mounted("tree")
    files = sum(1 for p in walk(d) if os.path.isfile(p))
    out = subprocess.run(["du", "-s", "--apparent-size", "-B1", d], stdout=subprocess.PIPE, check=True).stdout
    expect(int(out.split()[0]) >= files * len(TEXT), out, "for", files, "files")


@case("guests b and c are what they were")
def _(t):
    t.expect_others_untouched("links/n0", "tree/sub1/deep/f", "mixed/link0")


if __name__ == "__main__":
    sys.exit(guests.main(seed))
