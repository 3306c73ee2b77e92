#!/usr/bin/env python3
"""idmap.py seed GUEST | run POOL MOUNTS FIRST_A FIRST_B passthrough|none | check POOL | sleep FIRST

The programs of guest a are in a user namespace whose ids begin at FIRST_A outside, those of guest b at FIRST_B."""
import errno
import os
import stat
import subprocess
import sys
import time

import cases
import kernel
import tree
from cases import as_user, case, expect, expect_equal, expect_errno, in_child

UID, GID = 1000, 1001
ACL = "system.posix_acl_access"


def acl(user):
    return tree.acl((tree.USER_OBJ, 6, -1), (tree.USER, 6, user), (tree.GROUP_OBJ, 4, -1), (tree.MASK, 6, -1), (tree.OTHER, 0, -1))


def seed(guest):
    for i in range(1, 8):
        tree.put("%s/root/f%d" % (guest, i), tree.noise("root%d" % i, 9000), mode=0o644)
        tree.put("%s/user/f%d" % (guest, i), tree.noise("user%d" % i, 9000), mode=0o640, uid=UID, gid=GID)
        tree.put("%s/rich/f%d" % (guest, i), tree.noise("rich%d" % i, 9000), mode=0o4755, uid=UID, gid=GID,
                 xattrs={ACL: acl(UID), "user.color": b"blue", "security.capability": tree.CAP_NET_RAW})
    os.mkdir(guest + "/home", 0o755)
    os.chown(guest + "/home", UID, GID)
    tree.settle(guest)


class Guests:
    def __init__(self, pool, mounts, first_a, first_b, passthrough):
        self.disk = pool + "/a"
        self.root, self.other = mounts + "/a", mounts + "/b"
        self.first, self.first_b = int(first_a), int(first_b)
        self.passthrough = passthrough == "passthrough"

    def inside(self, fn, *args, root=None, first=None):
        """Calls @fn as root of the guest, which is /."""
        def become():
            kernel.enter_user_namespace(first or self.first)
            os.chroot(root or self.root)
            os.chdir("/")
            os.umask(0o022)
        return in_child(become, fn, *args)


def owner(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid


@case("outside, ids are shifted; inside, they are those on disk")
def _(t):
    expect_equal(owner(t.root + "/root/f1"), (t.first, t.first))
    expect_equal(owner(t.root + "/user/f1"), (t.first + UID, t.first + GID))
    expect_equal(owner(t.other + "/user/f1"), (t.first_b + UID, t.first_b + GID))
    expect_equal(t.inside(lambda: (owner("/root/f1"), owner("/user/f1"))), ((0, 0), (UID, GID)))
    expect_equal(t.inside(lambda: owner("/user/f1"), root=t.other, first=t.first_b), (UID, GID))
    expect_equal(t.inside(lambda: os.getxattr("/rich/f1", ACL)), acl(UID))
    expect_equal(t.inside(lambda: os.getxattr("/rich/f1", "security.capability")), tree.CAP_NET_RAW)
    expect_equal(owner(t.disk + "/user/f1"), (UID, GID))


@case("one inode on disk, whose pages both guests read")
def _(t):
    expect_equal(os.stat(t.disk + "/user/f1").st_ino, os.stat(t.disk + "/../b/user/f1").st_ino)
    frames = []
    for top in (t.root, t.other):
        fd = os.open(top + "/user/f1", os.O_RDONLY)
        m = kernel.Mapping(fd, 9000)
        frames.append(m.frames())
        m.close()
        os.close(fd)
    expect_equal(frames[0] == frames[1], t.passthrough, "the same page frames")


@case("the guest's root writes to, chmods and chowns links, and on disk they keep or get its ids")
def _(t):
    def work():
        with open("/root/f1", "ab") as f:
            f.write(b"more")
        os.chmod("/user/f2", 0o600)
        os.chown("/user/f3", 5, 6)
        with open("/rich/f2", "r+b") as f:
            f.write(b"RICH")
        return owner("/root/f1"), owner("/user/f2"), owner("/user/f3"), owner("/rich/f2")
    expect_equal(t.inside(work), ((0, 0), (UID, GID), (5, 6), (UID, GID)))
    d = t.disk
    expect_equal([owner(d + p) for p in ("/root/f1", "/user/f2", "/user/f3", "/rich/f2")], [(0, 0), (UID, GID), (5, 6), (UID, GID)])
    expect_equal(tree.slurp(d + "/root/f1"), tree.noise("root1", 9000) + b"more")
    expect_equal(oct(os.stat(d + "/user/f2").st_mode & 0o7777), "0o600")
    expect_equal(tree.slurp(d + "/rich/f2"), b"RICH" + tree.noise("rich2", 9000)[4:])
    expect_equal((os.getxattr(d + "/rich/f2", ACL), os.getxattr(d + "/rich/f2", "user.color")), (acl(UID), b"blue"))


@case("what the guest makes belongs to its ids on disk")
def _(t):
    def work():
        os.mkdir("/new")
        os.close(os.open("/new/file", os.O_CREAT | os.O_WRONLY, 0o644))
        os.symlink("file", "/new/symlink")
        os.mkfifo("/new/fifo")
        os.link("/user/f4", "/new/link")
        os.setxattr("/new/file", ACL, acl(7))
        os.setxattr("/new/file", "security.capability", tree.CAP_NET_RAW)
        return os.getxattr("/new/file", ACL) == acl(7), os.getxattr("/new/file", "security.capability") == tree.CAP_NET_RAW
    expect_equal(t.inside(work), (True, True))
    for name in ("", "/file", "/symlink", "/fifo"):
        expect_equal(owner(t.disk + "/new" + name), (0, 0), name)
    expect_equal(owner(t.disk + "/new/link"), (UID, GID))
    expect_equal(os.getxattr(t.disk + "/new/file", ACL), acl(7))
    got = subprocess.run(["getcap", t.disk + "/new/file"], check=True, stdout=subprocess.PIPE).stdout
    expect(b"cap_net_raw" in got, got)


@case("users of the guest have the rights their ids have on disk, and no others")
def _(t):
    def as_owner(fn, *args):
        def become_user():
            os.setresgid(GID, GID, GID)
            os.setresuid(UID, UID, UID)
            return fn(*args)
        return t.inside(become_user)

    def write(path, text=b"mine"):
        with open(path, "r+b") as f:
            f.write(text)
    as_owner(write, "/user/f5")
    expect_equal(tree.slurp(t.disk + "/user/f5"), b"mine" + tree.noise("user5", 9000)[4:])
    expect_equal(owner(t.disk + "/user/f5"), (UID, GID))
    as_owner(write, "/rich/f3")
    expect(not os.stat(t.disk + "/rich/f3").st_mode & stat.S_ISUID, "a user's write has left set-uid")
    expect_errno(errno.EACCES, as_owner, write, "/root/f2")
    expect_errno(errno.EPERM, as_owner, os.chmod, "/root/f2", 0o666)
    as_owner(os.mkdir, "/home/sub")
    expect_equal(owner(t.disk + "/home/sub"), (UID, GID))


@case("the ids on disk are strangers, and make nothing")
def _(t):
    expect_errno(errno.EACCES, as_user, UID, GID, lambda: os.close(os.open(t.root + "/user/f6", os.O_RDONLY)))
    expect_errno((errno.EACCES, errno.EOVERFLOW), as_user, UID, GID, os.mkdir, t.root + "/home/stranger")
    expect_errno(errno.EOVERFLOW, os.mkdir, t.root + "/home/host")
    expect(not os.path.exists(t.disk + "/home/host"))
    expect_errno((errno.EINVAL, errno.EOVERFLOW), os.chown, t.root + "/user/f6", 7, 7)


def check(pool):
    """After the mounts: nothing on disk is owned by a shifted id."""
    for top, dirs, files in os.walk(pool + "/a"):
        for n in dirs + files:
            expect(max(owner(top + "/" + n)) <= 65535, n, owner(top + "/" + n))
    return 0


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "seed":
        seed(*arguments)
    elif what == "run":
        sys.exit(cases.run(Guests(*arguments)))
    elif what == "check":
        sys.exit(check(*arguments))
    else:
        kernel.enter_user_namespace(int(arguments[0]))
        time.sleep(60)
