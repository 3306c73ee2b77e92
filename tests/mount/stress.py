#!/usr/bin/env python3
"""Random work in several processes: stress.py seed POOL NATIVE; stress.py run POOL NATIVE MOUNTS SECONDS OPTIONS

Workers: each has a directory of its own in one guest, does each operation there and in the native copy, and compares what came out.
Racers: several in one directory of one guest, where no copy can keep up: every read must still be a whole file that somebody wrote.
All directories of all guests begin as links of the same objects.
"""
import errno
import mmap
import os
import random
import signal
import stat
import sys
import time
import traceback

import kernel
import tree
from cases import short

WORKERS_PER_GUEST = 2
RACERS = 3
FILES = 30
SIZE = 30_000
SEED = int(os.environ.get("TEST_SEED", "0")) or int(time.time())


def directories():
    return ["w%d" % w for w in range(WORKERS_PER_GUEST)] + ["race", "still"]


def seed(pool, native):
    # Natively too, and there from the start without links.
    for top in [pool + "/" + g for g in ("a", "b", "c", "idle")] + [native + "/" + g for g in "abc"]:
        for d in directories():
            for i in range(FILES):
                tree.put("%s/%s/f%d" % (top, d, i), tree.noise(i, SIZE), xattrs={"user.n": b"%d" % i})
            os.mkdir("%s/%s/sub" % (top, d))
            if d == "race":
                for i in range(8):
                    tree.put("%s/%s/sub/f%d" % (top, d, i), tree.noise(i, SIZE))
        tree.settle(top)


class Wrong(Exception):
    pass


class Both:
    """One operation on two trees, whose results must be the same."""

    def __init__(self, mounted, native, rnd, coherent):
        self.tops = (mounted, native)
        self.rnd = rnd
        self.coherent = coherent
        self.fds = []  # (name, mounted fd, native fd, writable, content of the mounted one when it was opened)
        self.done = []

    def each(self, what, fn):
        got = []
        for top in self.tops:
            try:
                got.append(fn(top))
            except OSError as e:
                got.append("errno " + errno.errorcode.get(e.errno, str(e.errno)))
        self.done.append(what)
        if got[0] != got[1]:
            raise Wrong("%s: %s, natively %s" % (what, short(got[0]), short(got[1])))
        return got[0]

    def names(self):
        return [n for n in os.listdir(self.tops[1]) if not os.path.isdir(self.tops[1] + "/" + n)]

    def name(self):
        names = sorted(self.names())
        return self.rnd.choice(names) if names and self.rnd.random() < 0.95 else "f%d" % self.rnd.randrange(FILES)

    # ---- operations ----

    def op_read(self):
        n = self.name()
        self.each("read " + n, lambda t: tree.slurp(t + "/" + n))

    def op_stat(self):
        n = self.name()

        def look(t):
            st = os.lstat(t + "/" + n)
            return oct(st.st_mode), st.st_uid, st.st_gid, st.st_size, st.st_nlink
        self.each("stat " + n, look)

    def op_list(self):
        self.each("list", lambda t: sorted(os.listdir(t)))

    def op_write(self):
        n, where, data = self.name(), self.rnd.randrange(SIZE), self.rnd.randbytes(self.rnd.choice((10, 5000)))

        def write(t):
            fd = os.open(t + "/" + n, os.O_RDWR)
            try:
                os.pwrite(fd, data, where)
                return os.pread(fd, 100, max(0, where - 50))
            finally:
                os.close(fd)
        self.each("write %s %d+%d" % (n, where, len(data)), write)

    def op_append(self):
        n, data = self.name(), self.rnd.randbytes(100)

        def append(t):
            with open(t + "/" + n, "r+b") as f:
                f.seek(0, 2)
                f.write(data)
        self.each("append " + n, append)

    def op_rewrite(self):
        n, data = self.name(), self.rnd.randbytes(self.rnd.randrange(1, SIZE))

        def rewrite(t):
            fd = os.open(t + "/" + n, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o644)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        self.each("rewrite %s %d" % (n, len(data)), rewrite)

    def op_truncate(self):
        n, size = self.name(), self.rnd.randrange(SIZE * 2)
        self.each("truncate %s %d" % (n, size), lambda t: os.truncate(t + "/" + n, size))

    def op_attributes(self):
        n = self.name()
        mode, uid, when = self.rnd.choice((0o600, 0o644, 0o755)), self.rnd.randrange(5), self.rnd.randrange(1 << 40)
        self.each("chmod " + n, lambda t: os.chmod(t + "/" + n, mode))
        self.each("chown " + n, lambda t: os.chown(t + "/" + n, uid, -1))
        self.each("utime " + n, lambda t: os.utime(t + "/" + n, ns=(when, when)))

    def op_xattr(self):
        n, value = self.name(), self.rnd.randbytes(20)
        self.each("setxattr " + n, lambda t: os.setxattr(t + "/" + n, "user.s", value))
        self.each("listxattr " + n, lambda t: sorted(os.listxattr(t + "/" + n)))
        if self.rnd.random() < 0.3:
            self.each("removexattr " + n, lambda t: os.removexattr(t + "/" + n, "user.s"))

    def op_map(self):
        n, where = self.name(), self.rnd.randrange(SIZE)

        def store(t):
            with open(t + "/" + n, "r+b") as f:
                if os.fstat(f.fileno()).st_size <= where + 4:
                    return "short"
                with mmap.mmap(f.fileno(), 0) as m:
                    m[where:where + 4] = b"MAPD"
                return os.pread(f.fileno(), 10, where)
        self.each("map %s %d" % (n, where), store)

    def op_punch(self):
        n, where = self.name(), self.rnd.randrange(SIZE)

        def punch(t):
            with open(t + "/" + n, "r+b") as f:
                kernel.fallocate(f.fileno(), kernel.KEEP_SIZE | kernel.PUNCH_HOLE, where, 5000)
        self.each("punch %s %d" % (n, where), punch)

    def op_copy_range(self):
        a, b, where = self.name(), self.name(), self.rnd.randrange(SIZE)

        def copy(t):
            if a == b:
                return None
            src, fd = os.open(t + "/" + a, os.O_RDONLY), -1
            try:
                fd = os.open(t + "/" + b, os.O_WRONLY)
                return os.copy_file_range(src, fd, 5000, where, where // 2)
            finally:
                os.close(src)
                if fd >= 0:
                    os.close(fd)
        self.each("copy_file_range %s %s" % (a, b), copy)

    def op_rename(self):
        a = self.name()
        b = self.name() if self.rnd.random() < 0.5 else "n%d" % self.rnd.randrange(FILES)
        self.each("rename %s %s" % (a, b), lambda t: os.rename(t + "/" + a, t + "/" + b))

    def op_exchange(self):
        a, b = self.name(), self.name()
        self.each("exchange %s %s" % (a, b), lambda t: kernel.renameat2(t + "/" + a, t + "/" + b, kernel.RENAME_EXCHANGE))

    def op_link(self):
        a, b = self.name(), "l%d" % self.rnd.randrange(FILES)
        self.each("link %s %s" % (a, b), lambda t: os.link(t + "/" + a, t + "/" + b))

    def op_unlink(self):
        n = self.name()
        if len(self.names()) > FILES // 2:
            self.each("unlink " + n, lambda t: os.unlink(t + "/" + n))

    def op_replace(self):
        """As editors and package managers do it."""
        n, data = self.name(), self.rnd.randbytes(3000)

        def replace(t):
            with open(t + "/.new", "wb") as f:
                f.write(data)
            os.chmod(t + "/.new", 0o644)
            os.rename(t + "/.new", t + "/" + n)
        self.each("replace " + n, replace)

    def op_tmpfile(self):
        n, data = "t%d" % self.rnd.randrange(FILES), self.rnd.randbytes(700)

        def make(t):
            fd = os.open(t, os.O_TMPFILE | os.O_RDWR, 0o640)
            try:
                os.write(fd, data)
                kernel.link_fd(fd, t + "/" + n)
                return os.fstat(fd).st_nlink
            finally:
                os.close(fd)
        self.each("tmpfile " + n, make)

    def op_fallocate(self):
        n, where = self.name(), self.rnd.randrange(SIZE)
        mode = self.rnd.choice((0, kernel.KEEP_SIZE, kernel.ZERO_RANGE, kernel.ZERO_RANGE | kernel.KEEP_SIZE))

        def allocate(t):
            with open(t + "/" + n, "r+b") as f:
                kernel.fallocate(f.fileno(), mode, where, 9000)
                return f.seek(0, 2), f.seek(max(0, where - 50)), f.read(200)
        self.each("fallocate %s %d %d" % (n, mode, where), allocate)

    def op_noreplace(self):
        a, b = self.name(), self.name()
        self.each("rename %s %s if it is free" % (a, b),
                  lambda t: kernel.renameat2(t + "/" + a, t + "/" + b, kernel.RENAME_NOREPLACE))

    def op_acl(self):
        n, user = self.name(), self.rnd.randrange(1000, 1004)
        value = tree.acl((tree.USER_OBJ, 6, 0), (tree.USER, 4, user), (tree.GROUP_OBJ, 4, 0), (tree.MASK, self.rnd.choice((0, 4, 6)), 0),
                         (tree.OTHER, 0, 0))

        def give(t):
            os.setxattr(t + "/" + n, "system.posix_acl_access", value)
            return os.getxattr(t + "/" + n, "system.posix_acl_access"), oct(os.stat(t + "/" + n).st_mode)
        self.each("acl " + n, give)
        if self.rnd.random() < 0.5:
            self.each("remove acl " + n, lambda t: os.removexattr(t + "/" + n, "system.posix_acl_access"))

    def op_directory(self):
        n, inside = "d%d" % self.rnd.randrange(5), self.name()

        def try_all(t):
            os.mkdir(t + "/" + n, 0o2755)
            os.symlink("../" + inside, t + "/" + n + "/link")
            os.mkfifo(t + "/" + n + "/fifo")
            os.mknod(t + "/" + n + "/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
            seen = sorted((e.name, e.is_symlink(), e.is_file(follow_symlinks=False)) for e in os.scandir(t + "/" + n))
            kinds = [oct(os.lstat(t + "/" + n + "/" + x[0]).st_mode) for x in seen]
            target = os.readlink(t + "/" + n + "/link")
            there = os.path.exists(t + "/" + n + "/link")
            try:
                os.rmdir(t + "/" + n)
            except OSError as e:
                kinds.append(e.errno)
            for x in seen:
                os.unlink(t + "/" + n + "/" + x[0])
            os.rmdir(t + "/" + n)
            return seen, kinds, target, there
        self.each("directory " + n, try_all)

    def op_flags(self):
        n = self.name()

        def change(t):
            for change in (kernel.FS_NODUMP_FL, 0):
                fd = os.open(t + "/" + n, os.O_RDONLY)
                try:
                    before = kernel.flags_get(fd)
                    if change:
                        kernel.flags_set(fd, before ^ change)
                finally:
                    os.close(fd)
            return before & kernel.FS_NODUMP_FL
        self.each("flags " + n, change)

    def op_move_directory(self):
        n = self.name()

        def move(t):
            os.rename(t + "/" + n, t + "/sub/" + n)
            os.rename(t + "/sub", t + "/sub2")
            r = tree.slurp(t + "/sub2/" + n)[:10]
            os.rename(t + "/sub2", t + "/sub")
            os.rename(t + "/sub/" + n, t + "/" + n)
            return r
        self.each("move directory with " + n, move)

    def op_open(self):
        if len(self.fds) > 20:
            return self.op_close()
        n, writable = self.name(), self.rnd.random() < 0.3
        flags = os.O_RDWR if writable else os.O_RDONLY
        try:
            native = os.open(self.tops[1] + "/" + n, flags)
        except FileNotFoundError:
            return
        mounted = os.open(self.tops[0] + "/" + n, flags)
        self.done.append("open %s%s" % (n, " rw" if writable else ""))
        self.fds.append([n, mounted, native, writable, os.pread(mounted, 1 << 20, 0)])

    def op_read_open(self):
        if not self.fds:
            return
        n, mounted, native, writable, old = self.rnd.choice(self.fds)
        got, want = os.pread(mounted, 1 << 20, 0), os.pread(native, 1 << 20, 0)
        # A read-only descriptor from before a break may go on reading what it saw, unless the mount is coherent; a writer sees
        # what is.
        if got != want and (writable or self.coherent or got != old):
            raise Wrong("open %s%s reads %s, natively %s, was %s" % (n, " rw" if writable else "", short(got), short(want),
                                                                    short(old)))
        a, b = os.fstat(mounted), os.fstat(native)
        if (a.st_nlink, a.st_mode, a.st_uid) != (b.st_nlink, b.st_mode, b.st_uid):
            raise Wrong("open %s: fstat says %s, natively %s" % (n, (a.st_nlink, oct(a.st_mode), a.st_uid),
                                                                (b.st_nlink, oct(b.st_mode), b.st_uid)))

    def op_write_open(self):
        for n, mounted, native, writable, _ in self.fds:
            if writable:
                where, data = self.rnd.randrange(SIZE), self.rnd.randbytes(200)
                self.done.append("write open %s %d" % (n, where))
                os.pwrite(mounted, data, where)
                os.pwrite(native, data, where)
                break

    def op_change_open(self):
        """fchmod and fchown, through a read-only descriptor too."""
        if self.fds:
            n, mounted, native, _, _ = self.rnd.choice(self.fds)
            mode = self.rnd.choice((0o600, 0o640))
            self.done.append("fchmod %s" % n)
            for fd in (mounted, native):
                os.fchmod(fd, mode)

    def op_close(self):
        if self.fds:
            _, mounted, native, _, _ = self.fds.pop(self.rnd.randrange(len(self.fds)))
            os.close(mounted)
            os.close(native)

    def close_all(self):
        while self.fds:
            self.op_close()

    def compare(self):
        """All that a guest can see of the two directories, but times: what changed them differs by moments."""
        def look(top):
            ret = {}
            for n in sorted(os.listdir(top)):
                p = top + "/" + n
                st = os.lstat(p)
                ret[n] = (oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink if os.path.isfile(p) else 0)
                if os.path.isfile(p):
                    ret[n] += (tree.slurp(p), {x: os.getxattr(p, x) for x in os.listxattr(p)})
            return ret
        got, want = look(self.tops[0]), look(self.tops[1])
        for n in got.keys() | want.keys():
            if got.get(n) != want.get(n):
                raise Wrong("at the end %s is %s, natively %s" % (n, short(got.get(n)), short(want.get(n))))


def worker(mounted, native, number, until, coherent):
    rnd = random.Random(SEED * 100 + number)
    both = Both(mounted, native, rnd, coherent)
    ops = [getattr(both, n) for n in dir(both) if n.startswith("op_")]
    try:
        while time.monotonic() < until:
            rnd.choice(ops)()
        both.close_all()
        both.compare()
    except (Wrong, OSError) as e:
        if isinstance(e, OSError):
            e = "%s\n%s" % (e, traceback.format_exc())
        print("FAIL  %s: %s\n      the last steps: %s" % (mounted, e, "; ".join(both.done[-12:])), flush=True)
        return 1
    print("      %s: %d operations" % ("/".join(mounted.split("/")[-2:]), len(both.done)), flush=True)
    return 0


def racer(d, number, until):
    """Every content there is begins with its length and is otherwise one repeated byte, or is an original file."""
    rnd = random.Random(SEED * 1000 + number)
    originals = {tree.noise(i, SIZE) for i in range(FILES)}
    fine = (errno.ENOENT, errno.EEXIST, errno.EBUSY)

    def whole(text):
        return text in originals or (text[:8].isdigit() and len(text) == int(text[:8]) and text[8:] == text[8:9] * (len(text) - 8))

    def replace(p):
        size = rnd.randrange(100, 20_000)
        tmp = "%s/.tmp.%d" % (d, number)
        with open(tmp, "wb") as f:
            f.write(b"%08d" % size + bytes([65 + number]) * (size - 8))
        os.rename(tmp, p)

    n = 0
    while time.monotonic() < until:
        n += 1
        p = "%s/f%d" % (rnd.choice((d, d, d + "/sub", d + "/sub2")), rnd.randrange(8))
        q = "%s/f%d" % (rnd.choice((d, d, d + "/sub", d + "/sub2")), rnd.randrange(8))
        what = rnd.randrange(10)
        try:
            if what < 3:
                with open(p, "rb") as f:
                    text = f.read()
                    if not whole(text):
                        print("FAIL  %s: read %s" % (p, short(text)), flush=True)
                        return 1
            elif what == 3:
                os.chmod(p, rnd.choice((0o644, 0o600)))
            elif what == 4:
                os.utime(p)
            elif what == 5:
                os.close(os.open(p, os.O_RDWR))  # breaks and changes nothing
            elif what == 6:
                replace(p)
            elif what == 7:
                os.link(p, "%s/.l.%d.%d" % (d, number, n))
                os.rename("%s/.l.%d.%d" % (d, number, n), q)
                # A rename of one name of a file over the other leaves both.
                if os.path.lexists("%s/.l.%d.%d" % (d, number, n)):
                    os.unlink("%s/.l.%d.%d" % (d, number, n))
            elif what == 8:
                kernel.renameat2(p, q, kernel.RENAME_EXCHANGE)
            else:
                os.rename(d + "/sub", d + "/sub2")
                os.rename(d + "/sub2", d + "/sub")
        except OSError as e:
            if e.errno not in fine:
                print("FAIL  %s: racing operation %d: %s" % (p, what, e), flush=True)
                return 1
    for where in (d, d + "/sub"):
        for name in sorted(os.listdir(where)):
            if name.startswith("f") and not whole(text := tree.slurp(where + "/" + name)):
                print("FAIL  %s/%s is %s at the end" % (where, name, short(text)))
                return 1
    print("      %s: %d racing operations" % ("/".join(d.split("/")[-2:]), n), flush=True)
    return 0


def run(pool, native, mounts, seconds, options):
    print("      TEST_SEED=%d" % SEED, flush=True)
    until = time.monotonic() + float(seconds)
    pids = []

    def start(fn, *args):
        pid = os.fork()
        if pid == 0:
            r = 1
            try:
                r = fn(*args)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(r)
        pids.append(pid)

    number = 0
    for g in "abc":
        for w in range(WORKERS_PER_GUEST):
            start(worker, "%s/%s/w%d" % (mounts, g, w), "%s/%s/w%d" % (native, g, w), number, until,
                  options == "coherent")
            number += 1
    for g in "ab":
        for r in range(RACERS):
            start(racer, "%s/%s/race" % (mounts, g), r, until)
    start(memory, until)
    return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in pids)


def memory(until):
    """Dentries and inodes come and go meanwhile, as under memory pressure."""
    while time.monotonic() < until:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("2")
        time.sleep(0.5)  # the pressure itself, nothing waits for it
    return 0


if __name__ == "__main__":
    signal.alarm(3600)
    if sys.argv[1] == "seed":
        seed(*sys.argv[2:])
    else:
        sys.exit(run(*sys.argv[2:]))
