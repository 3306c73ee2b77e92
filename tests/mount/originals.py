#!/usr/bin/env python3
"""What Linux-VServer, cowdancer and obuilder fail by their own code: those of the ten that need a mounted guest and no power cut. Run by on_guests."""
import errno
import mmap
import os
import subprocess
import sys

import guests
import tree
from cases import as_user, case, expect, expect_equal, expect_errno

USER, GROUP, STRANGER = 1500, 1500, 1600
LONG = "x" * 255
TEXT = tree.noise("text", 9000)
NAMES = ("truncate", "rdonly_trunc", "setxattr", "setfacl", "fchmod", "fchown", "futimens", LONG)


def seed(pool):
    for g in "abc":
        top = pool + "/" + g
        for name in NAMES:
            tree.put(top + "/dir/" + name, tree.noise(name, 9000), mode=0o644)
        tree.put(top + "/closed/own", TEXT, mode=0o644, uid=USER, gid=GROUP)
        for name in ("write", "append", "truncate", "chmod", "xattr", "utime"):
            tree.put(top + "/closed/" + name, TEXT, mode=0o600, uid=USER, gid=GROUP)
        os.chmod(top + "/closed", 0o755)  # root's
        tree.put(top + "/refused/secret", tree.noise("secret", 9000), mode=0o640)
        tree.settle(top)


@case("1. truncate(2) of a link by path")
def _(t):
    os.truncate(t.mounted("dir/truncate"), 100)

    expect_equal(tree.slurp(t.mounted("dir/truncate")), tree.noise("truncate", 9000)[:100])
    t.expect_others_untouched("dir/truncate")


@case("2. O_RDONLY|O_TRUNC")
def _(t):
    os.close(os.open(t.mounted("dir/rdonly_trunc"), os.O_RDONLY | os.O_TRUNC))

    expect_equal(os.stat(t.mounted("dir/rdonly_trunc")).st_size, 0)
    t.expect_others_untouched("dir/rdonly_trunc")


@case("3. setxattr and setfacl on a link")
def _(t):
    os.setxattr(t.mounted("dir/setxattr"), "user.k", b"v")
    subprocess.run(["setfacl", "-m", "u:1234:rw", t.mounted("dir/setfacl")], check=True)

    expect_equal(os.getxattr(t.mounted("dir/setxattr"), "user.k"), b"v")
    got = subprocess.run(["getfacl", "-cpn", t.mounted("dir/setfacl")], check=True, stdout=subprocess.PIPE).stdout
    expect(b"user:1234:rw-" in got, got)
    for name in ("setxattr", "setfacl"):
        expect_equal(tree.slurp(t.mounted("dir/" + name)), tree.noise(name, 9000))
        expect_equal(os.stat(t.mounted("dir/" + name)).st_mtime_ns, tree.OLD, "mtime")
        t.expect_others_untouched("dir/" + name)


@case("4. fchmod, fchown, futimens through a read-only descriptor")
def _(t):
    for name, change, seen in (
            ("fchmod", lambda fd: os.fchmod(fd, 0o4711), lambda st: st.st_mode & 0o7777 == 0o4711),
            ("fchown", lambda fd: os.fchown(fd, 77, 88), lambda st: (st.st_uid, st.st_gid) == (77, 88)),
            ("futimens", lambda fd: os.utime(fd, ns=(5, 7)), lambda st: st.st_mtime_ns == 7)):
        fd = os.open(t.mounted("dir/" + name), os.O_RDONLY)
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
            before = os.fstat(fd).st_ino
            change(fd)
            expect(seen(os.fstat(fd)), name, "is not seen through the descriptor")
            expect(seen(os.stat(t.mounted("dir/" + name))), name, "is not seen by path")
            expect_equal(os.fstat(fd).st_ino, before, "st_ino")
            expect_equal(os.stat(t.mounted("dir/" + name)).st_ino, before, "st_ino by path")
            expect_equal(os.pread(fd, 10_000, 0), tree.noise(name, 9000))
            expect_equal(m[:], tree.noise(name, 9000))
        os.close(fd)
        t.expect_others_untouched("dir/" + name)


@case("5. a user writes his own link in a directory he can't write")
def _(t):
    def write(rel):
        with open(rel, "r+b") as f:
            f.write(b"mine")

    def append(rel):
        with open(rel, "ab") as f:
            f.write(b"mine")

    expect_errno(errno.EACCES, as_user, USER, GROUP, lambda: open(t.mounted("closed/new"), "w"))
    as_user(USER, GROUP, write, t.mounted("closed/write"))
    as_user(USER, GROUP, append, t.mounted("closed/append"))
    as_user(USER, GROUP, os.truncate, t.mounted("closed/truncate"), 5)
    as_user(USER, GROUP, os.chmod, t.mounted("closed/chmod"), 0o640)
    as_user(USER, GROUP, os.setxattr, t.mounted("closed/xattr"), "user.k", b"v")
    as_user(USER, GROUP, os.utime, t.mounted("closed/utime"))

    expect_equal(tree.slurp(t.mounted("closed/write")), b"mine" + TEXT[4:])
    expect_equal(tree.slurp(t.mounted("closed/append")), TEXT + b"mine")
    expect_equal(tree.slurp(t.mounted("closed/truncate")), TEXT[:5])
    for name in ("write", "append", "truncate", "chmod", "xattr", "utime"):
        st = os.stat(t.mounted("closed/" + name))
        expect_equal((st.st_uid, st.st_gid, st.st_nlink), (USER, GROUP, 1), name)
        t.expect_others_untouched("closed/" + name)


@case("6. a user without rights: EACCES or EPERM, and no copy made")
def _(t):
    p, n = t.mounted("refused/secret"), t.native("refused/secret")
    before = os.lstat(n)
    tmp = os.listdir(t.pool + "/.hash/tmp")

    for wanted, fn in (
            (errno.EACCES, lambda: os.open(p, os.O_WRONLY)),
            (errno.EACCES, lambda: os.open(p, os.O_RDONLY)),
            (errno.EACCES, lambda: os.open(p, os.O_WRONLY | os.O_TRUNC)),
            (errno.EACCES, lambda: os.open(p, os.O_RDONLY | os.O_TRUNC)),
            (errno.EACCES, lambda: os.truncate(p, 0)),
            (errno.EACCES, lambda: os.setxattr(p, "user.k", b"v")),
            (errno.EACCES, lambda: os.utime(p)),
            (errno.EPERM, lambda: os.utime(p, ns=(1, 2))),
            (errno.EPERM, lambda: os.chmod(p, 0o777)),
            (errno.EPERM, lambda: os.chown(p, STRANGER, STRANGER)),
            (errno.EPERM, lambda: os.setxattr(p, "system.posix_acl_access",
                                              tree.acl((1, 7, -1), (4, 7, -1), (32, 7, -1)))),
            (errno.EACCES, lambda: os.unlink(p)),
            (errno.EACCES, lambda: os.rename(p, p + "2"))):
        expect_errno(wanted, as_user, STRANGER, STRANGER, fn)

    after = os.lstat(n)
    expect_equal((after.st_ino, after.st_nlink, after.st_ctime_ns), (before.st_ino, before.st_nlink, before.st_ctime_ns),
                 "the name's inode, its links and its ctime")
    expect_equal(os.listdir(t.pool + "/.hash/tmp"), tmp, "what is in tmp")
    t.expect_others_untouched("refused/secret")


@case("7. a 255-byte name")
def _(t):
    with open(t.mounted("dir/" + LONG), "ab") as f:
        f.write(b"!")

    expect_equal(tree.slurp(t.mounted("dir/" + LONG)), tree.noise(LONG, 9000) + b"!")
    t.expect_others_untouched("dir/" + LONG)


if __name__ == "__main__":
    sys.exit(guests.main(seed))
