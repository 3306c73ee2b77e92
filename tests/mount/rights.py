#!/usr/bin/env python3
"""rights.py seed POOL; rights.py run POOL MOUNTS MODE; rights.py hold FILE COUNT ERROR"""
import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

import cases
import kernel
import tree
from cases import as_user, case, expect, expect_equal, expect_errno, in_child

USER = 65534
CAP_SETUID = bytes.fromhex("0100000280000000000000000000000000000000")


def seed(pool):
    for g in "abc":
        for name in ("old", "capable"):
            tree.put("%s/%s/%s" % (pool, g, name), b"#!/bin/cat\nold\n", 0o755, USER, USER)
        with open("/usr/bin/id", "rb") as f:
            program = f.read()
        for name in ("id", "id-capable"):
            tree.put("%s/%s/%s" % (pool, g, name), program, 0o755, USER, USER)
        tree.put("%s/%s/su" % (pool, g), b"program", 0o4755)
        tree.put("%s/%s/own" % (pool, g), b"own program", 0o6755, USER, USER)
        tree.put("%s/%s/secret" % (pool, g), b"secret", 0o600)
        for i in range(3):
            tree.put("%s/%s/taken%d" % (pool, g, i), b"his program %d" % i, 0o755, USER, USER)
            tree.put("%s/%s/twice%d" % (pool, g, i), b"a program %d" % i, 0o775, USER, USER)
        tree.put("%s/%s/group" % (pool, g), b"of a group", 0o755, USER, USER)
        tree.put("%s/%s/large" % (pool, g), tree.noise("large", 3 << 20))
        tree.settle(pool + "/" + g)
    os.mkdir(pool + "/a/free")
    os.chmod(pool + "/a/free", 0o1777)


class Tree:
    def __init__(self, pool, mounts, mode):
        self.pool, self.mount, self.mode = pool + "/a", mounts + "/a", mode


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def run_by_descriptor(path, change):
    """A user holds his own program open, @change gives root's new one rights, the user runs what he holds. Returns what he was then."""
    fd = os.open(path, os.O_RDONLY)
    try:
        change()
        return as_user(USER, USER, lambda: subprocess.run(
            ["/proc/self/fd/%d" % fd, "-u"], executable="/proc/self/fd/%d" % fd, pass_fds=(fd,), capture_output=True,
            text=True).stdout)
    finally:
        os.close(fd)


def overwrite(path):
    with open("/usr/bin/true", "rb") as new, open(path, "r+b") as old:
        old.truncate(0)
        shutil.copyfileobj(new, old)


ACL_FOR_USER = struct.pack("<I" + "HHI" * 5, 2, 1, 7, 2**32 - 1, 2, 7, USER, 4, 5, 2**32 - 1, 0x10, 7, 2**32 - 1, 0x20, 5, 2**32 - 1)


@case("a file that was taken from its owner obeys him no more: not by what he held of it when it was shared, nor by its name")
def _(t):
    for by_name in (False, True):
        path = t.mount + "/taken%d" % by_name
        fd = os.open(path, os.O_RDONLY)
        to, to_link = (path, path) if by_name else (fd, "/proc/self/fd/%d" % fd)

        def make_it_his():
            os.chmod(path, 0o700)
            with open(path, "r+b") as f:
                f.write(b"#!/bin/sh")

        def disobey():
            for change in (lambda: os.chmod(to, 0o4755), lambda: os.chmod(to_link, 0o4755), lambda: os.utime(to, (1, 1)),
                           lambda: os.chown(to, -1, USER),
                           lambda: os.setxattr(to_link, "system.posix_acl_access", ACL_FOR_USER)):
                expect_errno(errno.EPERM, change)

        try:
            as_user(USER, USER, make_it_his)
            os.chown(fd if by_name else path, 0, 0)
            as_user(USER, USER, disobey)
            st = os.stat(path)
            expect_equal((stat.S_IMODE(st.st_mode), st.st_uid), (0o700, 0), path)
            expect_equal(os.listxattr(path), [], path)
            # Who may act as any owner still may: a container's root, or a service.
            subprocess.run(["setpriv", "--reuid", "1234", "--inh-caps", "+fowner,+chown", "--ambient-caps", "+fowner,+chown",
                            "chmod", "711", path], check=True)
            expect_equal(mode_of(path), 0o711, path)
        finally:
            os.close(fd)


@case("nor does it in the moment in which it is taken")
def _(t):
    path = t.mount + "/taken2"
    fd = os.open(path, os.O_RDONLY)
    as_user(USER, USER, lambda: open(path, "r+b").close())
    pid = os.fork()
    if pid == 0:
        os.setresuid(USER, USER, USER)
        while True:
            try:
                os.fchmod(fd, 0o4755)
            except OSError:
                pass
    try:
        for _ in range(300):
            os.chown(path, USER, USER)
            for _ in range(20):
                os.stat(path)
            os.chown(path, 0, 0)
            for _ in range(20):
                st = os.stat(path)
                expect_equal((st.st_uid, st.st_mode & stat.S_ISUID), (0, 0), path)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


class Steps:
    """A user's steps in a process of his, one after the other with those of the test."""

    def __init__(self, user, *steps):
        self.sockets = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.sockets[0].close()
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                for step in steps:
                    self.sockets[1].recv(1)
                    step()
                    self.sockets[1].send(b"x")
            finally:
                os._exit(1)

        self.sockets[1].close()

    def next(self):
        self.sockets[0].send(b"x")
        expect(self.sockets[0].recv(1), "the user's step failed")

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.sockets[0].close()


def two_nodes(path):
    """A descriptor of the node of before the file was broken, which is not bound to what it was any more, and paths lead to another."""
    old = os.open(path, os.O_PATH)
    reads = os.open(path, os.O_RDONLY)
    os.close(os.open(path, os.O_WRONLY))
    os.close(reads)
    return "/proc/self/fd/%d" % old


@case("a user's write takes rights off that a file was given by another node than his")
def _(t):
    kept = {}

    def begin(path):
        kept["link"] = two_nodes(path)

    def write():
        if "fd" not in kept:
            kept["fd"] = os.open(kept["link"], os.O_WRONLY)
        os.write(kept["fd"], b"his program")

    def give(path, change):
        try:
            change()
        except OSError as e:
            expect_equal(e.errno, errno.EBUSY, path)

    def expect_none(path):
        expect_equal((mode_of(path) & 0o6000, os.listxattr(path)), (0, []), path)

    changes = [lambda path: os.chmod(path, 0o4775), lambda path: os.chmod(path, 0o2775),
               lambda path: os.setxattr(path, "security.capability", CAP_SETUID)]
    for i, change in enumerate(changes):
        path = t.mount + "/twice%d" % i
        user = Steps(USER, lambda: begin(path), write, write, write, write)
        try:
            user.next()
            os.chown(path, 0, USER)
            change(path)  # before he has it open for writing
            user.next()
            expect_none(path)
            user.next()  # the kernel knows now that there is nothing to take off
            give(path, lambda: change(path))  # while he has
            user.next()
            expect_none(path)
        finally:
            user.end()
        for _ in range(100):  # what he had is closed in a moment
            try:
                change(path)
                break
            except OSError:
                time.sleep(0.02)
        expect(mode_of(path) & 0o6000 or os.listxattr(path), path, "gets no rights any more")


@case("the owner gets no set-gid of a group that another node knows the file to have")
def _(t):
    path = t.mount + "/group"

    def hold():
        kept["fd"] = os.open(path, os.O_RDONLY)
        os.close(os.open(path, os.O_WRONLY))
    kept = {}
    user = Steps(USER, hold, lambda: os.fchmod(kept["fd"], 0o2755))
    try:
        user.next()
        os.chown(path, -1, 42)
        expect_equal(os.stat(path).st_gid, 42)
        user.next()
        expect_equal((mode_of(path), os.stat(path).st_gid), (0o755, 42))
    finally:
        user.end()


@case("who has no part in a file takes no set-uid off while others write to it; who writes does, by whatever descriptor he was given")
def _(t):
    path = t.mount + "/free/installed"
    with open(path, "wb") as f:
        os.fchmod(f.fileno(), 0o4755)

        def chown():
            os.close(f.fileno())  # what this process has is not his
            os.chown(path, -1, -1)
        expect_errno(errno.EPERM, as_user, USER, USER, chown)
        expect_equal(mode_of(path), 0o4755)
        as_user(USER, USER, lambda: os.write(f.fileno(), b"x"))
        expect_equal(mode_of(path), 0o755)


@case("what cannot lose its rights is not written to")
def _(t):
    path = append_only(t, "with-rights", 0o4777)
    try:
        expect_errno(errno.EPERM, as_user, USER + 1, USER + 1, lambda: append(path, b"x"))
        expect_equal((tree.slurp(path), mode_of(path)), (b"0123456789\n", 0o4777))
    finally:
        subprocess.run(["chattr", "-a", t.pool + "/free/with-rights"], check=True)


@case("a container's root sets an ACL and keeps set-gid, as natively")
def _(t):
    acl = tree.acl((tree.USER_OBJ, 7, 0), (tree.USER, 5, 7), (tree.GROUP_OBJ, 5, 0), (tree.MASK, 5, 0), (tree.OTHER, 5, 0))

    def become():
        kernel.enter_user_namespace(100000, 65536)
    modes = {}
    for top in (t.mount, t.pool):
        for name, make in (("journal", os.mkdir), ("program", lambda path: tree.put(path, b"x"))):
            path = "%s/free/acl-%s-%s" % (top, name, top == t.pool)
            make(path)
            os.chown(path, 100000, 100005)
            os.chmod(path, 0o2755)
            in_child(become, lambda: os.setxattr(path, "system.posix_acl_access", acl))
            modes[name, top] = mode_of(path)
    for name in ("journal", "program"):
        expect_equal(modes[name, t.mount], modes[name, t.pool], name)


@case("a program that is held open gets no rights that its successor in place was given")
def _(t):
    path = t.mount + "/id"

    def install():
        overwrite(path)
        os.chown(path, 0, 0)
        os.chmod(path, 0o4755)

    said = run_by_descriptor(path, install)
    expect(said in ("", "%d\n" % USER), "it ran as", said)
    expect_equal(mode_of(path), 0o4755, "by name")


@case("nor its capabilities")
def _(t):
    path = t.mount + "/id-capable"
    fd = os.open(path, os.O_RDONLY)
    try:
        overwrite(path)
        os.chown(path, 0, 0)
        os.setxattr(path, "security.capability", CAP_SETUID)
        with open("/proc/self/fd/%d" % fd, "rb") as f:
            is_old = f.read(4) == b"\x7fELF" and os.fstat(f.fileno()).st_size != os.stat("/usr/bin/true").st_size
        try:
            has = os.getxattr(fd, "security.capability")
        except OSError:
            has = None
        expect(not (is_old and has), "the old program has the new one's capability")
    finally:
        os.close(fd)
    expect_equal(os.getxattr(path, "security.capability"), CAP_SETUID, "by name")


@case("a program that is being run and made set-uid shows that")
def _(t):
    path = t.mount + "/own"
    fd = os.open(path, os.O_RDONLY)
    os.chmod(path, 0o4711)
    expect_equal(mode_of(path), 0o4711)
    expect_equal(stat.S_IMODE(os.fstat(fd).st_mode), 0o4711)
    os.close(fd)
    os.chmod(path, 0o6755)


@case("chown of nothing takes no set-uid from another's file, and makes no copies")
def _(t):
    before = {name: os.stat(t.pool + "/" + name).st_ino for name in ("su", "secret", "old")}
    expect_errno(errno.EPERM, as_user, USER, USER, lambda: os.chown(t.mount + "/su", -1, -1))
    for name in ("secret", "old"):
        as_user(USER + 1, USER + 1, lambda: os.chown(t.mount + "/" + name, -1, -1))
    os.chown(t.mount + "/secret", -1, -1)
    expect_equal({name: os.stat(t.pool + "/" + name).st_ino for name in before}, before, "inodes natively")
    expect_equal(mode_of(t.mount + "/su"), 0o4755)


@case("chown of nothing takes set-uid and set-gid off for the owner and for root")
def _(t):
    as_user(USER, USER, lambda: os.chown(t.mount + "/own", -1, -1))
    expect_equal(mode_of(t.mount + "/own"), 0o755)
    os.chown(t.mount + "/su", -1, -1)
    expect_equal(mode_of(t.mount + "/su"), 0o755)


@case("chown of nothing leaves a directory's set-gid")
def _(t):
    path = t.mount + "/set-gid"
    os.mkdir(path)
    os.chmod(path, 0o2775)
    for uid in (USER, 0):
        as_user(uid, uid, lambda: os.chown(path, -1, -1))
        expect_equal(mode_of(path), 0o2775)


@case("root's chgrp leaves set-gid to a file that is none for its group to run")
def _(t):
    path = t.mount + "/free/marked"
    tree.put(path, b"x")
    for uid, mode in ((0, 0o2745), (5, 0o2745)):
        os.chmod(path, mode)
        os.chown(path, uid, 5)
        expect_equal(mode_of(path), 0o2745)


@case("root's writes leave set-uid, whatever else there is; a user's take it")
def _(t):
    path = t.mount + "/free/both"
    tree.put(path, b"x", 0o6777)
    os.setxattr(path, "security.capability", CAP_SETUID)
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"y")
    os.close(fd)
    expect_equal(mode_of(path), 0o6777, "after root's write")

    def write():
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, b"z")
        os.close(fd)
    as_user(USER, USER, write)
    expect_equal(mode_of(path), 0o777, "after a user's write")


def append(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, data)
    os.close(fd)


def append_only(t, name, mode=0o644):
    path = t.mount + "/free/" + name
    tree.put(path, b"0123456789\n", mode, uid=USER)
    subprocess.run(["chattr", "+a", t.pool + "/free/" + name], check=True)
    return path


SPOILT = b"####"


def spoil_by_mapping(path):
    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    with mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as m:
        m[0:4] = SPOILT
        m.flush()


def spoil_by_flag(path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    os.pwrite(fd, SPOILT, 2)


RWF_NOAPPEND = 0x20


def spoil_by_call(path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.pwritev(fd, [SPOILT], 4, RWF_NOAPPEND)


def spoil_by_aio(path):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    context = ctypes.c_ulong(0)
    expect_equal(libc.syscall(206, 4, ctypes.byref(context)), 0, "io_setup")
    buf = ctypes.create_string_buffer(SPOILT, 4)
    import struct
    block = ctypes.create_string_buffer(struct.pack("<QIIHhIQQqQII", 1, 0, 0, 1, 0, fd, ctypes.addressof(buf), 4, 2, 0, 0, 0))
    blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
    libc.syscall(209, context, 1, blocks)
    events = ctypes.create_string_buffer(32)
    libc.syscall(208, context, 1, 1, events, None)


@case("what an append-only file has stays, by whatever way it is written")
def _(t):
    for spoil in (spoil_by_mapping, spoil_by_flag, spoil_by_call, spoil_by_aio):
        path = append_only(t, spoil.__name__)
        try:
            try:
                as_user(USER, USER, lambda: spoil(path))
            except OSError:
                pass
            now = tree.slurp(t.pool + "/free/" + spoil.__name__)
            expect_equal((now[:11], now[11:].replace(SPOILT, b"")), (b"0123456789\n", b""), spoil.__name__)
        finally:
            subprocess.run(["chattr", "-a", t.pool + "/free/" + spoil.__name__], check=True)


@case("an append-only file is appended to, read, and mapped for reading")
def _(t):
    path = append_only(t, "log")
    try:
        def work():
            fds = [os.open(path, how | os.O_APPEND) for how in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY)]
            for i in range(30):
                os.write(fds[i % 3], b"line %02d\n" % i)
            expect_equal(os.pread(fds[1], 8, 11), b"line 00\n")
            expect_equal(os.fstat(fds[0]).st_size, 11 + 30 * 8)
            for fd in fds:
                os.close(fd)
            expect_errno(errno.EPERM, os.open, path, os.O_WRONLY)
            expect_errno(errno.EPERM, os.open, path, os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
        as_user(USER, USER, work)
        wanted = b"0123456789\n" + b"".join(b"line %02d\n" % i for i in range(30))
        expect_equal(tree.slurp(path), wanted)
        expect_equal(tree.slurp(t.pool + "/free/log"), wanted, "natively")
        with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            expect_equal(m[:], wanted, "mapped")
    finally:
        subprocess.run(["chattr", "-a", t.pool + "/free/log"], check=True)


UFFD_API, UFFDIO_API, UFFDIO_REGISTER = 0xAA, 0xC018AA3F, 0xC020AA00


def memory_that_never_comes():
    """An address that nobody's page fault is answered for (userfaultfd)."""
    import struct
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    uffd = libc.syscall(323, os.O_CLOEXEC)
    if uffd < 0:
        raise cases.NotHere("no userfaultfd here")
    fcntl.ioctl(uffd, UFFDIO_API, struct.pack("<QQQ", UFFD_API, 0, 0))
    address = libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0))
    fcntl.ioctl(uffd, UFFDIO_REGISTER, struct.pack("<QQQQ", address, 4096, 1, 0))
    return address


def write_for_ever(fd):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.pwrite(fd, ctypes.c_void_p(memory_that_never_comes()), ctypes.c_size_t(4096), ctypes.c_long(0))


class Children:
    """Processes that may never end by themselves."""

    def __init__(self):
        self.pids = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self.pids:
            os.waitpid(pid, 0)

    def start(self, fn):
        pid = os.fork()
        if pid == 0:
            try:
                fn()
            finally:
                os._exit(0)
        self.pids.append(pid)
        return pid

    def expect_served(self, fn):
        begun = time.monotonic()
        pid = self.start(fn)
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            expect(time.monotonic() - begun < 5, "another's request has waited 5 s")
            time.sleep(0.01)
        self.pids.remove(pid)


def held_for_ever(t, children, name, size=8192):
    """A private file whose lock a writer holds; it is open."""
    path = t.mount + "/free/" + name
    tree.put(path, b"x" * size)
    fd = os.open(path, os.O_RDWR)
    children.start(lambda: write_for_ever(fd))
    return fd


@case("truncations that wait for some writers keep nobody else waiting, not even for a large break")
def _(t):
    memory_that_never_comes()

    def others():
        os.close(os.open(t.mount + "/free/other", os.O_WRONLY | os.O_CREAT))
        os.close(os.open(t.mount + "/large", os.O_WRONLY))

    with Children() as children:
        fds = [held_for_ever(t, children, "held%d" % i) for i in range(6)]
        time.sleep(0.3)
        for i in range(42):
            children.start(lambda: os.open(t.mount + "/free/held%d" % (i % 6), os.O_WRONLY | os.O_TRUNC))
        time.sleep(0.5)
        expect(os.lstat(t.pool + "/large").st_nlink > 1, "large is no link: this proves nothing")
        children.expect_served(others)
    for fd in fds:
        os.close(fd)
    expect_equal(os.lstat(t.pool + "/large").st_nlink, 1)


@case("what has a file read ahead while its writer never ends keeps nobody else waiting")
def _(t):
    memory_that_never_comes()
    piece = 128 << 10

    def others():
        for i in range(20):
            path = t.mount + "/free/others%d" % i
            with open(path, "wb") as f:
                f.write(b"y")
            with open(path, "rb") as f:
                expect_equal(f.read(), b"y")

    def space():
        return os.statvfs(t.pool).f_bavail * os.statvfs(t.pool).f_frsize

    with Children() as children:
        fd = held_for_ever(t, children, "source", 42 * piece)
        time.sleep(0.3)
        for i in range(42):
            children.start(lambda: os.posix_fadvise(fd, i * piece, piece, os.POSIX_FADV_WILLNEED))
        time.sleep(0.5)
        children.expect_served(others)
        with open(t.mount + "/free/gone", "wb") as f:
            f.write(b"z" * (32 << 20))
            f.flush()
            os.fsync(f.fileno())
            os.unlink(f.name)
            before = space()
        begun = time.monotonic()
        while space() < before + (16 << 20):
            expect(time.monotonic() - begun < 10, "the space of what was closed does not come back")
            os.sync()
            time.sleep(0.1)
    os.close(fd)


def hold(path, count, error):
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    fds = []
    said = "%s files were opened" % count
    try:
        for _ in range(int(count)):
            fds.append(os.open(path, os.O_TMPFILE | os.O_RDWR if os.path.isdir(path) else os.O_RDONLY))
    except OSError as e:
        said = "refused" if e.errno == getattr(errno, error) else str(e)
    print(said, flush=True)
    signal.pause()


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        seed(sys.argv[2])
    elif sys.argv[1] == "hold":
        hold(*sys.argv[2:5])
    else:
        sys.exit(cases.run(Tree(*sys.argv[2:5])))
