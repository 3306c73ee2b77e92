#!/usr/bin/env python3
"""A mount of the whole pool: hidden.py seed POOL; hidden.py run POOL MOUNT"""
import ctypes
import errno
import os
import socket
import subprocess
import sys

import cases
import kernel
import tree
from cases import case, expect, expect_equal, expect_errno

MARKS = ("trusted.hashfs.object", "user.hashfs.object")
# Whatever makes sense for a name that cannot be: the only wrong answers are success and an accident.
REFUSED = (errno.ENOENT, errno.EPERM, errno.EACCES, errno.EEXIST, errno.EINVAL, errno.ENOTEMPTY, errno.EBUSY)
MARK_REFUSED = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP)


def seed(pool):
    for g in "ab":
        tree.put(pool + "/" + g + "/f", tree.noise("f", 9000), xattrs={"user.k": b"v"})
        tree.put(pool + "/" + g + "/g", tree.noise("g", 9000))
        tree.put(pool + "/" + g + "/dir/private", tree.noise(g, 9000))
        tree.settle(pool + "/" + g)


class Tree:
    def __init__(self, pool, mount):
        self.pool, self.mount = pool, mount
        self.store = mount + "/.hash"


def ways(t):
    """Every spelling of the store's path."""
    return [t.store, t.store + "/", t.store + "/.", t.mount + "/./.hash", t.mount + "/a/../.hash", t.mount + "/a/dir/../../.hash",
            t.mount + "//.hash", t.store + "/objects", t.store + "/format", t.mount + "/a/../.hash/tmp"]


@case("it is not listed")
def _(t):
    expect_equal(sorted(os.listdir(t.mount)), ["a", "b"])
    expect_equal(sorted(e.name for e in os.scandir(t.mount)), ["a", "b"])
    out = subprocess.run(["find", t.mount, "-name", "*hash*"], stdout=subprocess.PIPE, check=True).stdout
    expect_equal(out, b"")


@case("it is not found, by any spelling and any call")
def _(t):
    for p in ways(t):
        for call in (os.lstat, os.stat, os.readlink, os.listdir, os.listxattr, os.statvfs, os.chdir,
                     lambda p: os.open(p, os.O_PATH), lambda p: os.open(p, os.O_RDONLY),
                     lambda p: os.open(p, os.O_RDONLY | os.O_DIRECTORY), lambda p: os.chmod(p, 0o777),
                     lambda p: os.chown(p, 1, 1), lambda p: os.utime(p), lambda p: os.setxattr(p, "user.k", b"v"),
                     lambda p: os.truncate(p, 0)):
            expect_errno(errno.ENOENT, call, p)
        expect(not os.access(p, os.F_OK), p)


@case("it is not found relative to a directory, nor by ..")
def _(t):
    fd = os.open(t.mount + "/a/dir", os.O_RDONLY | os.O_DIRECTORY)
    try:
        expect_errno(errno.ENOENT, os.stat, "../../.hash", dir_fd=fd)
        expect_errno(errno.ENOENT, os.open, "../../.hash/format", os.O_RDONLY, dir_fd=fd)
    finally:
        os.close(fd)


@case("a symbolic link does not lead there")
def _(t):
    for target in ("../.hash", "../.hash/format", t.store, t.store + "/objects"):
        os.symlink(target, t.mount + "/a/s")
        try:
            expect_errno(errno.ENOENT, os.stat, t.mount + "/a/s")
            expect_errno(errno.ENOENT, os.open, t.mount + "/a/s", os.O_RDONLY)
            expect_errno(REFUSED, os.open, t.mount + "/a/s", os.O_WRONLY | os.O_CREAT, 0o600)
        finally:
            os.unlink(t.mount + "/a/s")


@case("nothing of that name can be made")
def _(t):
    def bind():
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(t.store)

    def nameless():
        fd = os.open(t.mount, os.O_TMPFILE | os.O_WRONLY, 0o600)
        try:
            kernel.link_fd(fd, t.store)
        finally:
            os.close(fd)

    for make in (lambda: os.mkdir(t.store), lambda: os.mkfifo(t.store), lambda: os.mknod(t.store, 0o600 | 0o100000),
                 lambda: os.symlink("x", t.store), lambda: os.link(t.mount + "/a/f", t.store), bind, nameless,
                 lambda: os.open(t.store, os.O_CREAT | os.O_WRONLY, 0o600),
                 lambda: os.open(t.store, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)):
        expect_errno(REFUSED, make)
        expect_equal(sorted(os.listdir(t.mount)), ["a", "b"])
    expect(os.path.isfile(t.pool + "/.hash/format"), "the store itself is damaged")


@case("nothing can be renamed over it, nor it away, nor exchanged, nor removed")
def _(t):
    for do in (lambda: os.rename(t.mount + "/a/dir", t.store), lambda: os.rename(t.mount + "/a/f", t.store),
               lambda: os.rename(t.mount + "/a", t.store), lambda: os.rename(t.store, t.mount + "/a/new"),
               lambda: os.rename(t.store, t.mount + "/new"), lambda: os.rename(t.store + "/format", t.mount + "/a/new"),
               lambda: kernel.renameat2(t.mount + "/a", t.store, kernel.RENAME_EXCHANGE),
               lambda: kernel.renameat2(t.store, t.mount + "/a", kernel.RENAME_EXCHANGE),
               lambda: kernel.renameat2(t.mount + "/a/f", t.store, kernel.RENAME_NOREPLACE),
               lambda: os.rmdir(t.store), lambda: os.unlink(t.store), lambda: os.unlink(t.store + "/format"),
               lambda: os.link(t.store + "/format", t.mount + "/a/new")):
        expect_errno(REFUSED, do)
    expect(os.path.isfile(t.pool + "/.hash/format"), "the store itself is damaged")
    expect(os.path.isfile(t.mount + "/a/f"))


@case("a guest may have a .hash of its own")
def _(t):
    os.mkdir(t.mount + "/a/.hash")
    with open(t.mount + "/a/.hash/format", "w") as f:
        f.write("mine")
    expect(".hash" in os.listdir(t.mount + "/a"))
    expect_equal(tree.slurp(t.pool + "/a/.hash/format"), b"mine")
    os.unlink(t.mount + "/a/.hash/format")
    os.rmdir(t.mount + "/a/.hash")


@case("the mark is not listed, not read, not written and not removed")
def _(t):
    expect(MARKS[0] in os.listxattr(t.pool + "/a/f"), "there is no mark: this proves nothing")
    before = os.getxattr(t.pool + "/a/f", MARKS[0])
    for p in (t.mount + "/a/f", t.mount + "/a/dir/private", t.mount + "/a/dir", t.mount + "/a"):
        expect(not set(os.listxattr(p)) & set(MARKS), p)
        for mark in MARKS:
            expect_errno((errno.ENODATA,) + MARK_REFUSED, os.getxattr, p, mark)
            for flags in (0, os.XATTR_CREATE, os.XATTR_REPLACE):
                expect_errno(MARK_REFUSED + ((errno.ENODATA,) if flags == os.XATTR_REPLACE else ()),
                             os.setxattr, p, mark, b"1 1 x", flags)
            expect_errno(MARK_REFUSED + (errno.ENODATA,), os.removexattr, p, mark)
    expect_equal(os.getxattr(t.pool + "/a/f", MARKS[0]), before)
    expect(os.lstat(t.pool + "/a/f").st_nlink > 1, "the attempt broke the link")


@case("the size of the list of xattrs is that of the list")
def _(t):
    libc = ctypes.CDLL(None, use_errno=True)
    p = os.fsencode(t.mount + "/a/f")
    size = libc.listxattr(p, None, 0)
    buf = ctypes.create_string_buffer(4096)
    expect_equal(libc.listxattr(p, buf, 4096), len(b"user.k\0"), "listed")
    expect(size >= len(b"user.k\0"), size)
    expect_equal(libc.listxattr(p, buf, len(b"user.k\0")), len(b"user.k\0"), "into a buffer that just fits")


@case("a copy of a link by cp -a carries no mark")
def _(t):
    subprocess.run(["cp", "-a", t.mount + "/a/f", t.mount + "/a/copy"], check=True)
    expect_equal(os.listxattr(t.pool + "/a/copy"), ["user.k"])
    os.unlink(t.mount + "/a/copy")


@case("a broken link carries no mark")
def _(t):
    with open(t.mount + "/a/g", "ab") as f:
        f.write(b"x")
    expect_equal(os.lstat(t.pool + "/a/g").st_nlink, 1)
    expect_equal(os.listxattr(t.pool + "/a/g"), [])


@case("guests of one mount are apart: a write in a is not seen in b, and their numbers differ")
def _(t):
    a, b = t.mount + "/a/f", t.mount + "/b/f"
    expect(not os.path.samefile(a, b))
    text = tree.slurp(b)
    with open(a, "r+b") as f:
        f.write(b"only a")
    expect_equal(tree.slurp(b), text)
    expect_equal(os.lstat(b).st_nlink, 1)
    expect(not os.path.samefile(a, b))


@case("a link moved from one guest to another is a private matter of that one")
def _(t):
    with open(t.mount + "/a/f", "rb") as f:
        text = f.read()
    os.link(t.mount + "/a/f", t.mount + "/a/f2")
    os.rename(t.mount + "/a/f2", t.mount + "/b/f2")
    expect_equal(tree.slurp(t.mount + "/b/f2"), text)
    expect(os.path.samefile(t.mount + "/a/f", t.mount + "/b/f2"), "a link(2) across guests makes one file, as natively")
    os.unlink(t.mount + "/b/f2")
    os.utime(t.pool + "/b", ns=(tree.OLD, tree.OLD))


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        seed(sys.argv[2])
    else:
        sys.exit(cases.run(Tree(*sys.argv[2:])))
