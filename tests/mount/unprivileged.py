#!/usr/bin/env python3
"""Run as a user: unprivileged.py seed POOL; unprivileged.py run POOL MOUNT, of guest a."""
import errno
import os
import mmap
import subprocess
import sys

import cases
import kernel
import tree
from cases import case, expect, expect_equal, expect_errno

TEXT = tree.noise("text", 9000)
NAMES = ("write", "append", "truncate", "rdonly_trunc", "chmod", "fchmod", "utime", "xattr", "acl", "mmap", "link",
         "rename", "held", "punch", "script")


def seed(pool):
    uid, gid = os.getuid(), os.getgid()
    for g in "ab":
        for name in NAMES:
            tree.put("%s/%s/dir/%s" % (pool, g, name), tree.noise(name, 9000), uid=uid, gid=gid)
        tree.put("%s/%s/file" % (pool, g), TEXT, uid=uid, gid=gid, xattrs={"user.k": b"v"})
        tree.put("%s/%s/program" % (pool, g), b"#!/bin/sh\necho it runs\n", mode=0o755, uid=uid, gid=gid)
        tree.settle(pool + "/" + g)
    for i in range(600):
        tree.put("%s/many/d%d/f%d" % (pool, i % 3, i), b"same content" * 50, uid=uid, gid=gid)


class Tree:
    def __init__(self, pool, mount):
        self.pool, self.mount = pool, mount

    def path(self, name):
        expect(os.lstat("%s/a/dir/%s" % (self.pool, name)).st_nlink > 1, name, "is no link, this proves nothing")
        return "%s/dir/%s" % (self.mount, name)

    def expect_broken(self, name, content):
        expect_equal(tree.slurp("%s/dir/%s" % (self.mount, name)), content, "through the mount")
        expect_equal(tree.slurp("%s/a/dir/%s" % (self.pool, name)), content, "natively")
        expect_equal(os.lstat("%s/a/dir/%s" % (self.pool, name)).st_nlink, 1)
        expect_equal(tree.slurp("%s/b/dir/%s" % (self.pool, name)), tree.noise(name, 9000), "guest b")
        expect_equal([x for x in os.listxattr("%s/a/dir/%s" % (self.pool, name)) if "hashfs" in x], [], "marks")


@case("links look private and the mark does not show")
def _(t):
    p = t.mount + "/file"
    expect_equal(os.lstat(p).st_nlink, 1)
    expect_equal(os.listxattr(p), ["user.k"])
    os.removexattr(p, "system.posix_acl_access")  # as filesystems do where there is none
    expect(os.lstat(t.pool + "/a/file").st_nlink > 1, "broken for nothing")
    expect_errno((errno.ENODATA, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP), os.getxattr, p, "user.hashfs.object")
    expect_errno((errno.EPERM, errno.EACCES, errno.EOPNOTSUPP), os.setxattr, p, "user.hashfs.object", b"x")
    expect_errno((errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENODATA), os.removexattr, p, "user.hashfs.object")
    expect_equal(tree.slurp(p), TEXT)
    expect(not os.path.exists(t.mount + "/../.hash/nothing"))


@case("every kind of change breaks a link and does no more")
def _(t):
    text = {n: tree.noise(n, 9000) for n in NAMES}
    with open(t.path("write"), "r+b") as f:
        f.write(b"mine")
    t.expect_broken("write", b"mine" + text["write"][4:])
    with open(t.path("append"), "ab") as f:
        f.write(b"mine")
    t.expect_broken("append", text["append"] + b"mine")
    os.truncate(t.path("truncate"), 5)
    t.expect_broken("truncate", text["truncate"][:5])
    os.close(os.open(t.path("rdonly_trunc"), os.O_RDONLY | os.O_TRUNC))
    t.expect_broken("rdonly_trunc", b"")
    os.chmod(t.path("chmod"), 0o600)
    t.expect_broken("chmod", text["chmod"])
    fd = os.open(t.path("fchmod"), os.O_RDONLY)
    os.fchmod(fd, 0o640)
    expect_equal(os.fstat(fd).st_mode & 0o777, 0o640)
    os.close(fd)
    t.expect_broken("fchmod", text["fchmod"])
    os.utime(t.path("utime"), ns=(5, 7))
    expect_equal(os.stat(t.mount + "/dir/utime").st_mtime_ns, 7)
    t.expect_broken("utime", text["utime"])
    os.setxattr(t.path("xattr"), "user.new", b"1")
    t.expect_broken("xattr", text["xattr"])
    os.setxattr(t.path("acl"), "system.posix_acl_access", tree.acl(
        (tree.USER_OBJ, 6, -1), (tree.USER, 4, 1007), (tree.GROUP_OBJ, 4, -1), (tree.MASK, 4, -1), (tree.OTHER, 0, -1)))
    t.expect_broken("acl", text["acl"])
    with open(t.path("mmap"), "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        m[0:4] = b"mine"
    t.expect_broken("mmap", b"mine" + text["mmap"][4:])
    with open(t.path("punch"), "r+b") as f:
        kernel.fallocate(f.fileno(), kernel.KEEP_SIZE | kernel.PUNCH_HOLE, 0, 4096)
    t.expect_broken("punch", bytes(4096) + text["punch"][4096:])
    subprocess.run(["sed", "-i", "s/a/b/g", t.path("script")], check=True)
    t.expect_broken("script", text["script"].replace(b"a", b"b"))


@case("attributes survive a break")
def _(t):
    st = os.stat(t.mount + "/dir/chmod")
    expect_equal((st.st_mtime_ns, st.st_uid, st.st_gid), (tree.OLD, os.getuid(), os.getgid()))
    with open(t.mount + "/file", "ab") as f:
        f.write(b"x")
    expect_equal(os.getxattr(t.mount + "/file", "user.k"), b"v")


@case("a reader from before the break sees all of the old or all of the new file")
def _(t):
    p = t.path("held")
    fd = os.open(p, os.O_RDONLY)
    old = os.pread(fd, 10_000, 0)
    with open(p, "r+b") as f:
        f.write(b"mine")
    new = b"mine" + old[4:]
    expect(os.pread(fd, 10_000, 0) in (old, new))
    expect_equal(tree.slurp(p), new)
    os.close(fd)


@case("ln and mv of links")
def _(t):
    p = t.path("link")
    os.link(p, p + ".2")
    with open(p, "ab") as f:
        f.write(b"x")
    expect_equal(tree.slurp(p + ".2"), tree.noise("link", 9000) + b"x")
    p = t.path("rename")
    ino = os.stat(p).st_ino
    os.rename(p, p + ".2")
    expect_equal(os.stat(p + ".2").st_ino, ino)
    with open(p + ".2", "ab") as f:
        f.write(b"x")
    expect_equal(os.stat(p + ".2").st_ino, ino)


@case("a guest's own hard link that may not be read is found, changed and removed")
def _(t):
    one, two = t.mount + "/own.1", t.mount + "/own.2"
    tree.put(t.pool + "/a/own.1", b"x", mode=0, uid=os.getuid(), gid=os.getgid())
    os.link(t.pool + "/a/own.1", t.pool + "/a/own.2")
    expect_equal(os.lstat(one).st_nlink, 2)
    os.chmod(one, 0o600)
    expect_equal(tree.slurp(two), b"x")
    os.unlink(one)
    os.unlink(two)


@case("what the mode forbids, and a descriptor or the owner may")
def _(t):
    p = t.mount + "/read-only"
    fd = os.open(p, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444)
    os.write(fd, b"0123456789")
    os.ftruncate(fd, 4)
    expect_equal(os.fstat(fd).st_size, 4)
    os.close(fd)
    os.link(p, p + ".2")
    expect_equal((tree.slurp(p + ".2"), os.stat(p).st_nlink), (b"0123", 2))
    p = t.mount + "/write-only"
    os.close(os.open(p, os.O_WRONLY | os.O_CREAT, 0o200))
    fd = os.open(p, os.O_WRONLY)
    os.pwrite(fd, b"x" * 5000, 3)
    os.close(fd)
    expect_errno(errno.EACCES, os.open, p, os.O_RDWR)
    os.chmod(p, 0o600)
    expect_equal(tree.slurp(p), bytes(3) + b"x" * 5000)


@case("programs run")
def _(t):
    expect_equal(subprocess.run([t.mount + "/program"], stdout=subprocess.PIPE, check=True).stdout, b"it runs\n")


@case("new files, directories and symbolic links are his")
def _(t):
    os.mkdir(t.mount + "/new")
    with open(t.mount + "/new/f", "wb") as f:
        f.write(b"x")
    os.symlink("f", t.mount + "/new/l")
    os.mkfifo(t.mount + "/new/p")
    for n in ("", "/f", "/l", "/p"):
        expect_equal(os.lstat(t.mount + "/new" + n).st_uid, os.getuid())
    os.unlink(t.mount + "/new/p")
    os.unlink(t.mount + "/new/l")
    fd = os.open(t.mount + "/new/f", os.O_RDWR)
    os.unlink(t.mount + "/new/f")
    os.pwrite(fd, b"yz", 1)
    expect_equal((os.pread(fd, 10, 0), os.fstat(fd).st_nlink), (b"xyz", 0))
    os.close(fd)
    os.rmdir(t.mount + "/new")


def refuse_cleanly(pool, mount):
    """Of a mount that may have few descriptors: what fails has changed nothing."""
    held, failed = [], {"truncate": 0, "create": 0, "mkdir": 0}

    def attempt(kind, path, make, unchanged):
        try:
            made = make(mount + path)
            if made is not None:
                held.append(made)
        except OSError as e:
            expect(e.errno in (errno.ENFILE, errno.EMFILE), kind, path, e)
            failed[kind] += 1
            expect(unchanged(pool + path), kind, "failed, and has changed", path)

    for i in range(600):
        attempt("truncate", "/d%d/f%d" % (i % 3, i), lambda p: os.open(p, os.O_WRONLY | os.O_TRUNC),
                lambda p: os.lstat(p).st_size == 600)
        attempt("create", "/d%d/new%d" % (i % 3, i), lambda p: os.open(p, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
                lambda p: not os.path.lexists(p))
        attempt("mkdir", "/d%d/dir%d" % (i % 3, i), os.mkdir, lambda p: not os.path.lexists(p))
    print("      of 600 each failed", failed)
    return 0 if failed["truncate"] and failed["create"] else "the limit was not reached"


if __name__ == "__main__":
    if sys.argv[1] == "limit":
        sys.exit(refuse_cleanly(*sys.argv[2:]))
    elif sys.argv[1] == "seed":
        seed(sys.argv[2])
    else:
        sys.exit(cases.run(Tree(*sys.argv[2:])))
