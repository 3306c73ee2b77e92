#!/usr/bin/env python3
"""posix.py DIRECTORY [PREFIX]: it holds work/, empty, and links/ with file and program (set-uid; it says "!" and waits for the end
of its input)."""
import array
import errno
import fcntl
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys

import cases
import kernel
import tree
from cases import NotHere, as_user, case, expect, expect_equal, expect_errno

U, G, OTHER = 1500, 1501, 1600


class Tree:
    def __init__(self, top):
        self.top = top
        self.count = 0
        self.links = top + "/links"

    def dir(self, mode=0o777, uid=0, gid=0):
        """A fresh directory."""
        self.count += 1
        d = "%s/work/%d" % (self.top, self.count)
        os.mkdir(d)
        os.chown(d, uid, gid)
        os.chmod(d, mode)
        return d


def make_all(d):
    """One file of every kind a user can make. Returns their names."""
    os.close(os.open(d + "/file", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    os.mkdir(d + "/dir", 0o777)
    os.mkfifo(d + "/fifo", 0o666)
    os.symlink("file", d + "/symlink")
    os.mknod(d + "/node", 0o666 | stat.S_IFREG)
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(d)  # a socket's path is short
        s.bind("socket")
    return ["file", "dir", "fifo", "symlink", "node", "socket"]


def owner(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid


def perm(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def write(path, data=b"x", flags=os.O_CREAT | os.O_WRONLY, mode=0o666):
    fd = os.open(path, flags, mode)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


# ---- who owns what is made ----

@case("what a user makes is his, with his group and umask")
def _(t):
    d = t.dir()
    for name in as_user(U, G, make_all, d, umask=0o027):
        expect_equal(owner(d + "/" + name), (U, G), name)
    expect_equal([oct(perm(d + "/" + n)) for n in ("file", "dir", "fifo", "node", "socket")],
                 ["0o640", "0o750", "0o640", "0o640", "0o750"])


@case("in a set-gid directory the group is the directory's, and directories inherit the bit")
def _(t):
    d = t.dir(0o2777, 0, 77)
    for name in as_user(U, G, make_all, d):
        expect_equal(owner(d + "/" + name), (U, 77), name)
    expect_equal(oct(perm(d + "/dir")), "0o2755")


@case("a set-gid bit in the mode of a new file needs membership of the group")
def _(t):
    d = t.dir(0o2777, 0, 77)
    as_user(U, G, lambda: os.close(os.open(d + "/stranger", os.O_CREAT | os.O_WRONLY, 0o2770)))
    as_user(U, G, lambda: os.close(os.open(d + "/member", os.O_CREAT | os.O_WRONLY, 0o2770)), groups=[77])
    expect_equal((oct(perm(d + "/stranger")), oct(perm(d + "/member"))), ("0o750", "0o2750"))


@case("a default ACL is inherited, in place of the umask")
def _(t):
    d = t.dir()
    acl = tree.acl((tree.USER_OBJ, 7, -1), (tree.USER, 6, 1234), (tree.GROUP_OBJ, 5, -1), (tree.MASK, 7, -1), (tree.OTHER, 0, -1))
    os.setxattr(d, "system.posix_acl_default", acl)
    as_user(U, G, lambda: (os.mkdir(d + "/dir", 0o777), os.close(os.open(d + "/file", os.O_CREAT | os.O_WRONLY, 0o666))),
            umask=0o077)
    expect_equal(os.getxattr(d + "/dir", "system.posix_acl_default"), acl)
    expect_equal((oct(perm(d + "/file")), oct(perm(d + "/dir"))), ("0o660", "0o770"))
    got = os.getxattr(d + "/file", "system.posix_acl_access")
    expect_equal(got, tree.acl((tree.USER_OBJ, 6, -1), (tree.USER, 6, 1234), (tree.GROUP_OBJ, 5, -1), (tree.MASK, 6, -1),
                               (tree.OTHER, 0, -1)))
    expect_equal(owner(d + "/file"), (U, G))


@case("an ACL gives and takes rights, and chmod changes its mask")
def _(t):
    d = t.dir()
    p = d + "/f"
    write(p, b"text", mode=0o600)
    expect_errno(errno.EACCES, as_user, 1234, 1234, lambda: write(p, b"x", os.O_WRONLY))
    os.setxattr(p, "system.posix_acl_access", tree.acl((tree.USER_OBJ, 6, -1), (tree.USER, 6, 1234), (tree.GROUP_OBJ, 0, -1),
                                                       (tree.MASK, 6, -1), (tree.OTHER, 0, -1)))
    as_user(1234, 1234, lambda: write(p, b"x", os.O_WRONLY))
    expect_equal(oct(perm(p)), "0o660")
    os.chmod(p, 0o640)
    expect_errno(errno.EACCES, as_user, 1234, 1234, lambda: write(p, b"x", os.O_WRONLY))
    as_user(1234, 1234, lambda: os.close(os.open(p, os.O_RDONLY)))


@case("an ACL set by a stranger to the file's group takes set-gid off it, by a member it does not")
def _(t):
    d = t.dir()
    acl = tree.acl((tree.USER_OBJ, 7, -1), (tree.USER, 6, 1234), (tree.GROUP_OBJ, 7, -1), (tree.MASK, 7, -1), (tree.OTHER, 0, -1))
    for name, groups in (("stranger", []), ("member", [77])):
        p = d + "/" + name
        write(p)
        os.chown(p, U, 77)
        os.chmod(p, 0o2770)
        as_user(U, G, os.setxattr, p, "system.posix_acl_access", acl, groups=groups)
    expect_equal((oct(perm(d + "/stranger")), oct(perm(d + "/member"))), ("0o770", "0o2770"))


@case("trusted xattrs are shown to root alone")
def _(t):
    p = t.dir() + "/f"
    write(p)
    os.chmod(p, 0o666)
    os.setxattr(p, "user.open", b"1")
    os.setxattr(p, "trusted.secret", b"1")
    expect_equal(sorted(x for x in os.listxattr(p) if "." in x and x.split(".")[0] in ("user", "trusted")),
                 ["trusted.secret", "user.open"])

    def as_a_user():
        expect_equal([x for x in os.listxattr(p) if not x.startswith("security.")], ["user.open"])
        expect_errno(errno.ENODATA, os.getxattr, p, "trusted.secret")
    as_user(U, G, as_a_user)


@case("a rename can leave a whiteout, which is the caller's, between two names of one content, too")
def _(t):
    d = t.dir()
    write(d + "/a", b"A")
    write(d + "/b", b"B")
    for n in ("/twin1", "/twin2"):
        os.rename(t.links + n, d + n)
    for old, new, text in ((d + "/a", d + "/b", b"A"), (d + "/twin1", d + "/twin2", tree.slurp(d + "/twin1"))):
        as_user(U, G, kernel.renameat2, old, new, kernel.RENAME_WHITEOUT)
        st = os.lstat(old)
        expect(stat.S_ISCHR(st.st_mode) and st.st_rdev == 0, oct(st.st_mode))
        expect_equal(owner(old), (U, G), old)
        expect_equal(tree.slurp(new), text)


@case("supplementary groups count")
def _(t):
    d = t.dir(0o770, 0, 77)
    expect_errno(errno.EACCES, as_user, U, G, os.mkdir, d + "/x")
    as_user(U, G, os.mkdir, d + "/x", groups=[77])


@case("a sticky directory: nobody removes or renames another's file")
def _(t):
    d = t.dir(0o1777)
    as_user(U, G, write, d + "/his")
    for do in (lambda: os.unlink(d + "/his"), lambda: os.rename(d + "/his", d + "/mine")):
        expect_errno((errno.EPERM, errno.EACCES), as_user, OTHER, OTHER, do)
    as_user(U, G, os.unlink, d + "/his")


@case("chown and chmod follow the rules for users")
def _(t):
    d = t.dir()
    p = d + "/f"
    as_user(U, G, write, p)
    expect_errno(errno.EPERM, as_user, U, G, os.chown, p, OTHER, -1)
    expect_errno(errno.EPERM, as_user, U, G, os.chown, p, -1, 99)
    as_user(U, G, os.chown, p, -1, 99, groups=[99])
    expect_equal(owner(p), (U, 99))
    expect_errno(errno.EPERM, as_user, OTHER, OTHER, os.chmod, p, 0o777)
    os.chmod(p, 0o6755)
    as_user(U, G, os.chown, p, -1, G)
    expect_equal(oct(perm(p)), "0o755", "set-uid and set-gid after chown by a user")
    as_user(U, G, os.chmod, p, 0o2755)
    expect_equal(oct(perm(p)), "0o2755")
    os.chown(p, -1, 99)
    as_user(U, G, os.chmod, p, 0o2700)
    expect_equal(oct(perm(p)), "0o700", "set-gid of a group that is not his")


@case("a write by a user clears set-uid, set-gid and capabilities")
def _(t):
    d = t.dir()
    ways = {
        "write": lambda p: write(p, b"x", os.O_WRONLY),
        "append": lambda p: write(p, b"x", os.O_WRONLY | os.O_APPEND),
        "trunc": lambda p: os.close(os.open(p, os.O_WRONLY | os.O_TRUNC)),
        "truncate": lambda p: os.truncate(p, 1),
        "fallocate": lambda p: fallocate(p, 0),
        "punch": lambda p: fallocate(p, kernel.KEEP_SIZE | kernel.PUNCH_HOLE),
        "pwritev": lambda p: pwritev(p),
        "copy_file_range": lambda p: copy_range(p, d + "/source"),
    }

    def fallocate(p, mode):
        fd = os.open(p, os.O_RDWR)
        kernel.fallocate(fd, mode, 0, 4096)
        os.close(fd)

    def pwritev(p):
        fd = os.open(p, os.O_RDWR)
        os.pwritev(fd, [b"a", b"b"], 0)
        os.close(fd)

    def copy_range(p, source):
        src, fd = os.open(source, os.O_RDONLY), os.open(p, os.O_RDWR)
        os.copy_file_range(src, fd, 10)
        os.close(fd)
        os.close(src)

    write(d + "/source", b"0123456789")
    for name, way in ways.items():
        for uid in (U, 0):
            p = "%s/%s.%d" % (d, name, uid)
            write(p, b"0123456789" * 1000)
            os.chown(p, U, G)
            os.setxattr(p, "security.capability", tree.CAP_NET_RAW)
            os.chmod(p, 0o6777)
            as_user(uid, uid and G, way, p)
            if uid:
                expect_equal(oct(perm(p)), "0o777", name)
            if name not in ("fallocate", "punch"):  # where natively btrfs and tmpfs differ
                expect("security.capability" not in os.listxattr(p), name, "by uid", uid, "leaves the capability")


@case("a long copy_file_range is a clone of all, or is gone on with after a part, and others need not wait for it")
def _(t):
    d = t.dir()
    data = tree.noise(1, 5_000_001)
    write(d + "/source", data)
    src, dst = os.open(d + "/source", os.O_RDONLY), os.open(d + "/copy", os.O_RDWR | os.O_CREAT)
    parts = []
    while part := os.copy_file_range(src, dst, 1 << 30):
        parts.append(part)
    expect_equal(tree.slurp(d + "/copy"), data)
    if os.stat(t.top).st_dev != os.stat(os.environ["POOL"]).st_dev:
        expect(parts == [len(data)] or max(parts) <= 1 << 20, "copied at once:", parts)
    # Not from the beginning of a block, and over what is there.
    expect_equal(os.copy_file_range(src, dst, 1 << 30, 4_999_990, 17), 11)
    expect_equal(tree.slurp(d + "/copy"), data[:17] + data[4_999_990:] + data[28:])
    expect_equal(os.copy_file_range(src, dst, 100, 6_000_000, 0), 0, "behind the end")
    os.close(src)
    os.close(dst)


@case("set-gid without the right to execute is cleared by who is not in the group, and stays for who is")
def _(t):
    d = t.dir()
    ways = {
        "write": lambda p: write(p, b"x", os.O_WRONLY),
        "trunc": lambda p: os.close(os.open(p, os.O_WRONLY | os.O_TRUNC)),
        "truncate": lambda p: os.truncate(p, 1),
        "chown": lambda p: os.chown(p, -1, G),
    }
    for name, way in ways.items():
        for groups, mode in (((), "0o666"), ((99,), "0o2666")):
            p = "%s/%s.%d" % (d, name, len(groups))
            write(p, b"0123456789")
            os.chown(p, U, 99)
            os.chmod(p, 0o2666)
            as_user(U, G, way, p, groups=groups)
            expect_equal(oct(perm(p)), mode, "%s, groups %s" % (name, groups))


@case("a user's write to a set-uid link clears the bit in his guest")
def _(t):
    d = t.dir()
    os.link(t.links + "/program", d + "/other")
    os.unlink(d + "/other")
    for name in ("program",):
        p = t.links + "/" + name
        os.chmod(p, 0o6777)
        as_user(U, G, lambda: write(p, b"", os.O_WRONLY))
        as_user(U, G, lambda: write(p, tree.slurp(p)[:4], os.O_WRONLY))
        expect_equal(oct(perm(p)), "0o777")


# ---- opening and making ----

@case("O_EXCL, O_DIRECTORY, O_NOFOLLOW and types")
def _(t):
    d = t.dir()
    write(d + "/f")
    os.symlink("f", d + "/l")
    os.symlink("nowhere", d + "/dangling")
    excl = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    for name in ("f", "l", "dangling"):
        expect_errno(errno.EEXIST, os.open, d + "/" + name, excl)
    expect_errno(errno.ENOTDIR, os.open, d + "/f", os.O_RDONLY | os.O_DIRECTORY)
    expect_errno(errno.ELOOP, os.open, d + "/l", os.O_RDONLY | os.O_NOFOLLOW)
    expect_errno(errno.EISDIR, os.open, d, os.O_WRONLY)
    expect_errno(errno.ENOENT, os.open, d + "/none", os.O_RDONLY)
    expect_errno(errno.ENOTDIR, os.open, d + "/f/x", os.O_RDONLY)
    write(d + "/dangling")
    expect(os.path.isfile(d + "/nowhere"))


@case("a file made without write permission can be written by who made it")
def _(t):
    d = t.dir()

    def make():
        fd = os.open(d + "/f", os.O_CREAT | os.O_RDWR, 0o000)
        os.write(fd, b"hello")
        r = os.pread(fd, 10, 0)
        os.close(fd)
        return r
    expect_equal(as_user(U, G, make), b"hello")
    expect_errno(errno.EACCES, as_user, U, G, lambda: os.open(d + "/f", os.O_RDONLY))


@case("O_TMPFILE: a nameless file, that may get a name")
def _(t):
    d = t.dir()
    try:
        fd = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o640)
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:
            raise NotHere("no O_TMPFILE")
        raise
    os.write(fd, b"nameless")
    expect_equal((os.listdir(d), os.fstat(fd).st_nlink), ([], 0))
    kernel.link_fd(fd, d + "/named")
    os.write(fd, b", named")
    expect_equal((tree.slurp(d + "/named"), os.fstat(fd).st_nlink), (b"nameless, named", 1))
    expect_equal(os.fstat(fd).st_ino, os.stat(d + "/named").st_ino)
    os.close(fd)
    fd = as_user(U, G, lambda: os.fstat(os.open(d, os.O_TMPFILE | os.O_RDWR, 0o600)).st_uid)
    expect_equal(fd, U)
    fd = os.open(d, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
    expect_errno((errno.ENOENT, errno.EINVAL), kernel.link_fd, fd, d + "/excl")
    os.close(fd)


@case("an unlinked open file lives until it is closed")
def _(t):
    d = t.dir()
    fd = os.open(d + "/f", os.O_CREAT | os.O_RDWR, 0o600)
    os.write(fd, b"before")
    fd2 = os.open(d + "/f", os.O_RDONLY)
    os.unlink(d + "/f")
    expect_equal(os.listdir(d), [])
    os.write(fd, b" after")
    os.fchmod(fd, 0o640)
    os.setxattr(fd, "user.k", b"v") if os.environ.get("FS_KIND") != "tmpfs" else None
    os.fsync(fd)
    st = os.fstat(fd2)
    expect_equal((st.st_nlink, st.st_size, oct(st.st_mode)), (0, 12, "0o100640"))
    expect_equal(os.pread(fd2, 100, 0), b"before after")
    os.ftruncate(fd, 3)
    expect_equal(os.pread(fd2, 100, 0), b"bef")
    os.rmdir(d)
    expect_equal(os.pread(fd2, 100, 0), b"bef")
    os.close(fd)
    os.close(fd2)


@case("a removed open directory is empty, and nothing can be made in it")
def _(t):
    d = t.dir()
    fd = os.open(d, os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(d)
    expect_equal(os.listdir(fd), [])
    expect_errno(errno.ENOENT, os.open, "f", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)


# ---- names ----

@case("rename: over files and directories, NOREPLACE, EXCHANGE")
def _(t):
    d = t.dir()
    write(d + "/f", b"f")
    write(d + "/g", b"g")
    for n in ("e", "full/x", "full2/y"):
        os.makedirs(d + "/" + n)
    expect_errno(errno.EEXIST, kernel.renameat2, d + "/f", d + "/g", kernel.RENAME_NOREPLACE)
    kernel.renameat2(d + "/f", d + "/g", kernel.RENAME_EXCHANGE)
    expect_equal((tree.slurp(d + "/f"), tree.slurp(d + "/g")), (b"g", b"f"))
    kernel.renameat2(d + "/f", d + "/full", kernel.RENAME_EXCHANGE)
    expect(os.path.isdir(d + "/f/x") and os.path.isfile(d + "/full"))
    kernel.renameat2(d + "/f", d + "/full", kernel.RENAME_EXCHANGE)
    expect_errno((errno.ENOTEMPTY, errno.EEXIST), os.rename, d + "/full2", d + "/full")
    os.rename(d + "/full2", d + "/e")
    expect_equal(os.listdir(d + "/e"), ["y"])
    expect_errno(errno.EISDIR, os.rename, d + "/f", d + "/e")
    expect_errno(errno.ENOTDIR, os.rename, d + "/e", d + "/f")
    expect_errno(errno.EINVAL, os.rename, d + "/e", d + "/e/y/z")
    os.rename(d + "/f", d + "/f")
    os.rename(d + "/f", d + "/g")
    expect_equal(sorted(os.listdir(d)), ["e", "full", "g"])


@case("rename of one hard link over the other does nothing")
def _(t):
    d = t.dir()
    write(d + "/f", b"f")
    os.link(d + "/f", d + "/g")
    os.rename(d + "/f", d + "/g")
    expect_equal(sorted(os.listdir(d)), ["f", "g"])
    expect_equal(os.stat(d + "/f").st_nlink, 2)


@case("names of 255 bytes, of any bytes; 256 are too many")
def _(t):
    d = os.fsencode(t.dir())
    names = [b"x" * 255, "ü".encode() * 127, b"\xff\xfe raw", b"new\nline", b" ", b"-rf", b"..."]
    for n in names:
        write(d + b"/" + n, n)
    expect_equal(sorted(os.listdir(d)), sorted(names))
    for n in names:
        expect_equal(tree.slurp(d + b"/" + n), n)
    os.rename(d + b"/" + names[0], d + b"/" + b"y" * 255)
    for make in (lambda p: write(p), os.mkdir, lambda p: os.symlink("x", p)):
        expect_errno(errno.ENAMETOOLONG, make, d + b"/" + b"x" * 256)


@case("symbolic links of 4095 bytes; their owner and times")
def _(t):
    d = t.dir()
    target = "/".join(["x" * 250] * 20)[:4000]
    try:
        os.symlink("y" * 4095, d + "/l")
        expect_equal(os.readlink(d + "/l"), "y" * 4095)
    except OSError as e:
        expect(e.errno == errno.ENAMETOOLONG, e)  # XFS: 1024
        os.symlink("y" * 1000, d + "/l")
        expect_equal(os.readlink(d + "/l"), "y" * 1000)
    expect_errno(errno.ENAMETOOLONG, os.symlink, "y" * 4096, d + "/m")
    os.lchown(d + "/l", U, G)
    os.utime(d + "/l", ns=(5, 7), follow_symlinks=False)
    st = os.lstat(d + "/l")
    expect_equal((st.st_uid, st.st_gid, st.st_mtime_ns), (U, G, 7))
    expect_equal(len(target), 4000)


@case("sockets, FIFOs and devices work")
def _(t):
    d = t.dir()
    os.chdir(d)
    with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as c:
        s.bind("socket")
        s.listen()
        c.connect("socket")
        c.send(b"hello")
        expect_equal(s.accept()[0].recv(10), b"hello")
    os.mkfifo("fifo")
    r = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    write("fifo", b"through", os.O_WRONLY)
    expect_equal(os.read(r, 10), b"through")
    os.close(r)
    os.mknod("zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    expect_equal(os.lstat("zero").st_rdev, os.makedev(1, 5))
    with open("zero", "rb", buffering=0) as f:
        expect_equal(f.read(4), bytes(4))
    os.mknod("block", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
    expect_equal((stat.S_ISBLK(os.lstat("block").st_mode), os.lstat("block").st_rdev), (True, os.makedev(7, 200)))
    expect_errno(errno.EPERM, as_user, U, G, os.mknod, d + "/x", 0o600 | stat.S_IFCHR, os.makedev(1, 5))


@case("link counts of directories and files")
def _(t):
    d = t.dir()
    native_counts = os.stat(d).st_nlink == 2  # btrfs counts 1 always
    for n in "abc":
        os.mkdir(d + "/" + n)
    if native_counts:
        expect_equal(os.stat(d).st_nlink, 5)
        os.rename(d + "/c", d + "/a/c")
        expect_equal((os.stat(d).st_nlink, os.stat(d + "/a").st_nlink), (4, 3))
        os.rmdir(d + "/b")
        expect_equal(os.stat(d).st_nlink, 3)
    write(d + "/f")
    os.link(d + "/f", d + "/g")
    os.link(d + "/g", d + "/h")
    expect_equal(os.stat(d + "/f").st_nlink, 3)
    os.unlink(d + "/f")
    expect_equal(os.stat(d + "/h").st_nlink, 2)


@case("times move as they should")
def _(t):
    d = t.dir()
    p = d + "/f"
    write(p)

    def moved(change, what, path=p):
        for x in (p, d):
            os.utime(x, ns=(tree.OLD, tree.OLD))
        before = os.lstat(path)
        change()
        after = os.lstat(path)
        got = {k for k in ("st_mtime_ns", "st_ctime_ns") if getattr(before, k) != getattr(after, k)}
        if os.environ.get("FS_KIND") == "tmpfs":  # its ctime moves by ticks of the clock
            got, what = got & {"st_mtime_ns"}, what & {"st_mtime_ns"}
        expect_equal(got, what, change)
    both, c = {"st_mtime_ns", "st_ctime_ns"}, {"st_ctime_ns"}
    moved(lambda: write(p, b"y", os.O_WRONLY), both)
    moved(lambda: os.truncate(p, 100), both)
    moved(lambda: os.chmod(p, 0o600), c)
    moved(lambda: os.chown(p, 1, 1), c)
    moved(lambda: os.setxattr(p, "trusted.k", b"v"), c)
    moved(lambda: os.link(p, p + "2"), c)
    moved(lambda: os.unlink(p + "2"), c)

    def set_flags():
        fd = os.open(p, os.O_RDONLY)
        kernel.flags_set(fd, kernel.flags_get(fd) ^ kernel.FS_NODUMP_FL)
        os.close(fd)
    moved(set_flags, c)
    moved(lambda: os.link(p, p + "2"), both, d)
    moved(lambda: os.rename(p + "2", p + "3"), both, d)
    moved(lambda: os.unlink(p + "3"), both, d)
    moved(lambda: os.mkdir(p + "4"), both, d)
    moved(lambda: os.chmod(p, 0o644), set(), d)
    moved(lambda: tree.slurp(p), set())


# ---- directories ----

@case("10,000 names, read while they are removed: none twice, none forgotten")
def _(t):
    d = t.dir()
    names = {"n%05d" % i for i in range(10_000)}
    for n in names:
        os.close(os.open(d + "/" + n, os.O_CREAT | os.O_WRONLY))
    expect_equal(set(os.listdir(d)), names)
    seen = []
    for e in os.scandir(d):
        seen.append(e.name)
        os.unlink(e.path)
    expect_equal(len(seen), len(set(seen)), "names seen more than once")
    # Those removed before they were read need not show; those never removed must have.
    expect_equal(set(seen) | set(os.listdir(d)), names)
    for n in os.listdir(d):
        os.unlink(d + "/" + n)
    os.rmdir(d)


@case("rm -r of a deep and wide tree")
def _(t):
    d = t.dir()
    deep = d
    for i in range(200):
        deep += "/d"
        os.mkdir(deep)
        write(deep + "/f")
    for i in range(50):
        os.makedirs("%s/w%d/x/y" % (d, i))
        write("%s/w%d/x/f" % (d, i))
    subprocess.run(["rm", "-r", d], check=True)
    expect(not os.path.exists(d))


@case("a directory entry appears, and goes, at once")
def _(t):
    d = t.dir()
    for i in range(200):
        p = "%s/%d" % (d, i)
        expect(not os.path.exists(p))
        write(p, b"%d" % i)
        expect(os.path.exists(p) and str(i) in os.listdir(d))
        os.rename(p, p + "r")
        expect(not os.path.exists(p) and tree.slurp(p + "r") == b"%d" % i)
        os.unlink(p + "r")
        expect(not os.path.exists(p + "r"))
    expect_equal(os.listdir(d), [])


# ---- content ----

@case("holes: SEEK_HOLE, SEEK_DATA, blocks")
def _(t):
    d = t.dir()
    p = d + "/f"
    fd = os.open(p, os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"d" * 65536, 1 << 20)
    os.ftruncate(fd, 4 << 20)
    os.fsync(fd)
    expect_equal((os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 1 << 20, os.SEEK_HOLE)), (1 << 20, (1 << 20) + 65536))
    expect_equal(os.lseek(fd, 0, os.SEEK_HOLE), 0)
    expect_equal(os.lseek(fd, 0, os.SEEK_END), 4 << 20)
    expect_errno(errno.ENXIO, os.lseek, fd, 5 << 20, os.SEEK_DATA)
    expect(os.fstat(fd).st_blocks * 512 < 1 << 20, os.fstat(fd).st_blocks)
    expect_equal(os.pread(fd, 100, 0), bytes(100))
    os.close(fd)


@case("O_APPEND by several processes loses nothing")
def _(t):
    p = t.dir() + "/log"
    pids = []
    for w in range(4):
        pid = os.fork()
        if pid == 0:
            fd = os.open(p, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            for i in range(500):
                os.write(fd, b"%d %06d\n" % (w, i))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    lines = tree.slurp(p).splitlines()
    expect_equal(len(lines), 2000)
    for w in range(4):
        mine = [x for x in lines if x.startswith(b"%d " % w)]
        expect_equal(mine, [b"%d %06d" % (w, i) for i in range(500)], "writer %d" % w)


@case("O_DIRECT, and what it wrote is read by others")
def _(t):
    if os.environ.get("FS_KIND") == "tmpfs":
        raise NotHere("tmpfs")
    p = t.dir() + "/f"
    with mmap.mmap(-1, 8192) as m:
        m.write(b"D" * 8192)
        fd = os.open(p, os.O_CREAT | os.O_RDWR | os.O_DIRECT)
        expect_equal(os.pwritev(fd, [m], 0), 8192)
        expect_equal(tree.slurp(p), b"D" * 8192)
        write(p, b"buffered", os.O_WRONLY)
        expect_equal(os.preadv(fd, [m], 0), 8192)
        expect_equal(m[:10], b"bufferedDD")
        os.close(fd)


@case("a shared mapping and write(2) see each other")
def _(t):
    p = t.dir() + "/f"
    write(p, bytes(8192))
    fd = os.open(p, os.O_RDWR)
    other = os.open(p, os.O_RDONLY)
    with mmap.mmap(fd, 8192) as m, mmap.mmap(other, 8192, prot=mmap.PROT_READ) as n:
        m[10:15] = b"store"
        expect_equal((os.pread(other, 5, 10), n[10:15]), (b"store", b"store"))
        os.pwrite(fd, b"write", 5000)
        expect_equal((m[5000:5005], n[5000:5005]), (b"write", b"write"))
    os.close(fd)
    os.close(other)
    expect_equal(tree.slurp(p)[10:15], b"store")


@case("a big file, written and read in pieces, from several sides")
def _(t):
    p = t.dir() + "/f"
    piece = tree.noise("piece", 1 << 20)
    with open(p, "wb") as f:
        for _ in range(20):
            f.write(piece)
    subprocess.run(["cp", p, p + ".cp"], check=True)
    subprocess.run(["cmp", p, p + ".cp"], check=True)
    subprocess.run("cat %s | cmp - %s" % (p, p + ".cp"), shell=True, check=True)
    expect_equal(os.stat(p + ".cp").st_size, 20 << 20)
    out = subprocess.run(["dd", "if=" + p, "of=" + p + ".dd", "bs=4096", "count=1000", "skip=100", "status=none"], check=True)
    expect_equal(tree.slurp(p + ".dd"), (piece * 5)[409600:409600 + 4096000], out)


@case("sizes: far offsets, and a file larger than 4 GiB")
def _(t):
    p = t.dir() + "/f"
    fd = os.open(p, os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 5 << 30)
    if os.environ.get("FS_KIND") != "tmpfs":
        os.pwrite(fd, b"end", (5 << 30) - 3)
        expect_equal(os.pread(fd, 10, (5 << 30) - 3), b"end")
    expect_equal(os.stat(p).st_size, 5 << 30)
    os.close(fd)
    os.truncate(p, 0)


# ---- locks, programs, the rest ----

@case("flock and fcntl locks lock, within one name and between names of one file")
def _(t):
    for p in (t.dir() + "/f", t.links + "/file"):
        if not os.path.exists(p):
            write(p)
        a, b = os.open(p, os.O_RDWR), os.open(p, os.O_RDWR)
        fcntl.flock(a, fcntl.LOCK_EX)
        expect_errno(errno.EWOULDBLOCK, fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(a, fcntl.LOCK_UN)
        fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(b, fcntl.LOCK_UN)
        fcntl.lockf(a, fcntl.LOCK_EX, 10, 5)

        def lock_as_another(start):
            fcntl.lockf(os.open(p, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 5, start)
        expect_errno((errno.EAGAIN, errno.EACCES), as_user, 0, 0, lock_as_another, 8)
        as_user(0, 0, lock_as_another, 100)
        os.close(a)
        os.close(b)
        as_user(0, 0, lock_as_another, 8)


@case("programs run, with set-uid, and are busy meanwhile")
def _(t):
    d = t.dir()
    subprocess.run(["cp", "-p", t.links + "/program", d + "/copy"], check=True)
    for p in (d + "/copy", t.links + "/file"):
        os.chown(p, U, G)
        os.chmod(p, 0o4755)
        expect_equal(subprocess.run([p, "now"]).returncode, 7)
        child = subprocess.Popen([p], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            expect_equal(child.stdout.read(1), b"!", "the program's first byte")
            with open("/proc/%d/status" % child.pid) as f:
                uids = next(line for line in f if line.startswith("Uid:")).split()[1:]
            expect_equal(uids, ["0", str(U), str(U), str(U)], "ids of the set-uid program")
            expect_errno(errno.ETXTBSY, os.open, p, os.O_WRONLY)
            expect_errno(errno.ETXTBSY, os.truncate, p, 0)
            size = os.stat(p).st_size
            expect_errno(errno.ETXTBSY, os.open, p, os.O_RDONLY | os.O_TRUNC)
            expect_equal((os.stat(p).st_size, size > 0), (size, True), "what is being run, opened with O_TRUNC")
        finally:
            child.communicate()
        os.close(os.open(p, os.O_WRONLY))
    os.chmod(d + "/copy", 0o644)
    expect_errno(errno.EACCES, subprocess.run, [d + "/copy"])


@case("a link that runs is busy, and not where it runs in another guest")
def _(t):
    busy, elsewhere = t.links + "/busy", t.links + "/elsewhere"
    child = subprocess.Popen([busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        expect_equal(child.stdout.read(1), b"!", "the program's first byte")
        expect_errno(errno.ETXTBSY, os.open, busy, os.O_WRONLY)
        expect_errno(errno.ETXTBSY, os.truncate, busy, 0)
        expect_errno(errno.ETXTBSY, os.open, busy, os.O_RDONLY | os.O_TRUNC)
        os.chmod(busy, 0o700)
        expect_errno(errno.ETXTBSY, os.open, busy, os.O_WRONLY)
    finally:
        child.communicate()
    write(busy, b"x", os.O_WRONLY)

    write(elsewhere, b"x", os.O_WRONLY)  # guest b runs its own all the time: see posix.sh
    expect_equal(tree.slurp(elsewhere)[:1], b"x")


@case("an open for writing waits for who holds a lease natively")
def _(t):
    native = os.environ["POOL"] + "/a/work" + (t.dir() + "/f").split("/work")[1]
    p = t.top + "/work" + native.split("/work")[1]
    if not os.path.exists(os.path.dirname(native)):
        raise NotHere("this is no mount")
    write(native)  # what is made through the mount stays open for writing in the kernel, by its backing id
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    with open(native, "rb") as f:
        fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        writer = subprocess.Popen([sys.executable, "-c", "open(%r, 'r+b').write(b'late')" % p])
        while fcntl.fcntl(f, fcntl.F_GETLEASE) == fcntl.F_RDLCK and writer.poll() is None:
            os.sched_yield()  # until it waits for us
        fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    expect_equal(writer.wait(), 0)
    expect_equal(tree.slurp(p), b"late")


@case("a program that is open for writing cannot be run")
def _(t):
    p = t.dir() + "/program"
    subprocess.run(["cp", "-p", t.links + "/program", p], check=True)
    fd = os.open(p, os.O_WRONLY)
    expect_errno(errno.ETXTBSY, subprocess.run, [p, "now"])
    os.close(fd)
    expect_equal(subprocess.run([p, "now"]).returncode, 7)


@case("xattrs: sizes, flags, lists, of files, directories and symbolic links")
def _(t):
    d = t.dir()
    write(d + "/f")
    os.symlink("f", d + "/l")
    for p in (d + "/f", d, d + "/l"):
        names = []
        for space in ("trusted.", "security.") + (() if p.endswith("/l") else ("user.",)):
            os.setxattr(p, space + "test", b"x" * 1000, follow_symlinks=False)
            os.setxattr(p, space + "empty", b"", follow_symlinks=False)
            names += [space + "test", space + "empty"]
            expect_errno(errno.EEXIST, os.setxattr, p, space + "test", b"", os.XATTR_CREATE, follow_symlinks=False)
            expect_errno(errno.ENODATA, os.setxattr, p, space + "none", b"", os.XATTR_REPLACE, follow_symlinks=False)
            expect_errno(errno.ENODATA, os.removexattr, p, space + "none", follow_symlinks=False)
            expect_equal(os.getxattr(p, space + "test", follow_symlinks=False), b"x" * 1000)
            expect_equal(os.getxattr(p, space + "empty", follow_symlinks=False), b"")
        expect_equal(sorted(os.listxattr(p, follow_symlinks=False)), sorted(names), p)
    expect_errno(errno.EPERM, os.setxattr, d + "/l", "user.k", b"v", follow_symlinks=False)
    expect_errno((errno.ENODATA, errno.EPERM), as_user, U, G, os.getxattr, d + "/f", "trusted.test")
    expect_errno(errno.EPERM, as_user, U, G, os.setxattr, d + "/f", "trusted.test", b"")
    big = {"ext4": 500, "btrfs": 3000}.get(os.environ.get("FS_KIND"), 60_000)
    os.setxattr(d + "/f", "user.big", b"b" * big)
    expect_equal(os.getxattr(d + "/f", "user.big"), b"b" * big)
    expect_errno((errno.E2BIG, errno.ENOSPC, errno.ERANGE), os.setxattr, d + "/f", "user.huge", b"b" * 65_537)


@case("statfs, pathconf, fsync of files and directories")
def _(t):
    d = t.dir()
    st = os.statvfs(d)
    expect(st.f_blocks and st.f_bavail and st.f_namemax == 255, st)
    write(d + "/f")
    for p, flags in ((d + "/f", os.O_RDWR), (d, os.O_RDONLY)):
        fd = os.open(p, flags)
        os.fsync(fd)
        os.fdatasync(fd)
        os.close(fd)


@case("inotify tells of what happens, before and after a break")
def _(t):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK)
    p = t.links + "/file"
    expect(libc.inotify_add_watch(fd, os.fsencode(p), 0x2 | 0x4) >= 0)  # IN_MODIFY, IN_ATTRIB
    os.chmod(p, 0o700)
    write(p, tree.slurp(p)[:1], os.O_WRONLY)
    got = os.read(fd, 4096)
    masks = [int.from_bytes(got[i + 4:i + 8], "little") for i in range(0, len(got), 16)]
    expect(0x4 in masks and 0x2 in masks, [hex(m) for m in masks])
    os.close(fd)


@case("append-only and immutable files are so for root, too")
def _(t):
    d = t.dir()
    p = d + "/log"
    write(p, b"hello")
    fd = os.open(p, os.O_RDONLY)
    try:
        kernel.flags_set(fd, kernel.flags_get(fd) | kernel.FS_APPEND_FL)
    except OSError as e:
        raise NotHere("no such flags") from e
    try:
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC | os.O_APPEND):
            expect_errno(errno.EPERM, os.open, p, flags)
        write(p, b", world", os.O_WRONLY | os.O_APPEND)
        log = os.open(p, os.O_WRONLY | os.O_APPEND)
        kernel.fallocate(log, kernel.KEEP_SIZE, 0, 100)
        os.close(log)
        expect_equal(tree.slurp(p), b"hello, world")
        kernel.flags_set(fd, kernel.flags_get(fd) & ~kernel.FS_APPEND_FL | kernel.FS_IMMUTABLE_FL)
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
            expect_errno(errno.EPERM, os.open, p, flags)
        expect_errno(errno.EPERM, os.unlink, p)
        expect_equal(tree.slurp(p), b"hello, world")
    finally:
        kernel.flags_set(fd, kernel.flags_get(fd) & ~(kernel.FS_APPEND_FL | kernel.FS_IMMUTABLE_FL))
        os.close(fd)
    write(p, b"H", os.O_WRONLY)
    expect_equal(tree.slurp(p), b"Hello, world")


@case("ioctl FIONREAD and unknown ones fail or work as they do for files")
def _(t):
    p = t.dir() + "/f"
    write(p, b"12345")
    fd = os.open(p, os.O_RDONLY)
    buf = array.array("i", [0])
    fcntl.ioctl(fd, 0x541B, buf)
    expect_equal(buf[0], 5)
    expect_errno((errno.ENOTTY, errno.EINVAL), fcntl.ioctl, fd, 0x5401, bytes(64))  # TCGETS
    os.close(fd)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(cases.run(Tree(sys.argv[1]), prefix=sys.argv[2] if len(sys.argv) > 2 else ""))
