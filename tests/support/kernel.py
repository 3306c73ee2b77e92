"""System calls that Python does not have, each raising OSError as os functions do."""
import contextlib
import ctypes
import errno
import fcntl
import functools
import mmap
import os
import struct
import traceback

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE = 1, 2, 8, 16
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
AT_FDCWD, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = -100, 0x400, 0x1000
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_NODUMP_FL, FS_IMMUTABLE_FL, FS_APPEND_FL = 0x40, 0x10, 0x20
FS_IOC_SHUTDOWN = 0x8004587d  # _IOR('X', 125, __u32): ext4 and XFS
SHUTDOWN_NOLOGFLUSH = 2
SYS_CACHESTAT = 451
SYS_GETDENTS64 = {"x86_64": 217}.get(os.uname().machine, 61)
CLONE_NEWUSER = 0x10000000
PAGE = mmap.PAGESIZE


def _check(r, name=None):
    if r < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e), name)
    return r


def fallocate(fd, mode, offset, length):
    _check(_libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def readahead(fd, offset, length):
    _check(_libc.readahead(fd, ctypes.c_long(offset), ctypes.c_size_t(length)))


def renameat2(old, new, flags):
    _check(_libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags), new)


def dirents(fd, size=4096):
    """The next entries of a directory, as many as one call returns: pairs of name and inode number; none at its end."""
    buf = ctypes.create_string_buffer(size)
    n = _check(_libc.syscall(SYS_GETDENTS64, fd, buf, size))
    ret, at = [], 0
    while at < n:
        ino, _, length = struct.unpack_from("QqH", buf, at)
        ret.append((os.fsdecode(buf.raw[at + 19:at + length].split(b"\0")[0]), ino))
        at += length
    return ret


def getdents(fd, size=4096):
    """The next names of a directory, as many as one call returns, without . and ..; none at its end."""
    names = ["."]
    while names and not set(names) - {".", ".."}:
        names = [name for name, _ in dirents(fd, size)]
    return [name for name in names if name not in (".", "..")]


def link_fd(fd, path):
    """Gives the nameless file @fd a name."""
    _check(_libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, os.fsencode(path), AT_SYMLINK_FOLLOW), path)


def flags_get(fd):
    return struct.unpack("l", fcntl.ioctl(fd, FS_IOC_GETFLAGS, struct.pack("l", 0)))[0]


def flags_set(fd, flags):
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("l", flags))


def stop_at_exec():
    """For a child: it stops when it has become another program, until it is killed."""
    _check(_libc.ptrace(0, 0, None, None))


def enter_user_namespace(first, count=65536):
    """This process becomes root of a new user namespace, whose ids are those from @first on outside."""
    r, w = os.pipe()
    me = os.getpid()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.close(w)
            os.read(r, 1)
            for kind in "ug":
                with open("/proc/%d/%cid_map" % (me, kind), "w") as f:
                    f.write("0 %d %d" % (first, count))
            status = 0
        finally:
            os._exit(status)
    os.close(r)
    _check(_libc.unshare(CLONE_NEWUSER))
    os.close(w)
    if os.waitpid(helper, 0)[1]:
        raise RuntimeError("cannot map the ids of a user namespace")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def shutdown_fs(path):
    """Cuts the power of the filesystem at @path: nothing that is not on the disk yet gets there."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_NOLOGFLUSH))
    finally:
        os.close(fd)


def cached_pages(fd):
    """How many pages of the file are in the page cache: its own inode's, not those of a file behind it."""
    what = (ctypes.c_uint64 * 2)(0, 0)
    ret = (ctypes.c_uint64 * 5)()
    r = _libc.syscall(SYS_CACHESTAT, fd, ctypes.byref(what), ctypes.byref(ret), 0)
    if r < 0 and ctypes.get_errno() == errno.ENOSYS:
        raise RuntimeError("cachestat(2) is missing: Linux 6.5 or newer is needed")
    _check(r)
    return ret[0]


def pages_there(path):
    """Which pages of the file are in the page cache, a byte for each."""
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    try:
        mapping = Mapping(fd, os.fstat(fd).st_size, prot=0)
        there = ctypes.create_string_buffer((mapping.length + PAGE - 1) // PAGE)
        _check(_libc.mincore(ctypes.c_void_p(mapping.addr), ctypes.c_size_t(mapping.length), there))
        mapping.close()
        return bytes(b & 1 for b in there.raw)
    finally:
        os.close(fd)


def page_frames(pid, start, end):
    """The page frame numbers of a range of addresses; 0 where no page is mapped."""
    with open("/proc/%s/pagemap" % pid, "rb", buffering=0) as f:
        f.seek(start // PAGE * 8)
        words = struct.unpack("=%dQ" % ((end - start) // PAGE), f.read((end - start) // PAGE * 8))
    return [w & ((1 << 55) - 1) if w >> 63 else 0 for w in words]


class Mapping:
    """A mapping whose address is known, unlike that of mmap.mmap."""

    def __init__(self, fd, length, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ):
        self.length = length
        self.addr = _libc.mmap(None, length, prot, flags, fd, 0)
        if self.addr == ctypes.c_void_p(-1).value:
            _check(-1)

    def read(self, offset, length):
        return ctypes.string_at(self.addr + offset, length)

    def frames(self):
        """The page frame number of every page, each touched before."""
        pages = (self.length + PAGE - 1) // PAGE
        for i in range(pages):
            self.read(i * PAGE, 1)
        return page_frames("self", self.addr, self.addr + pages * PAGE)

    def close(self):
        if self.addr:
            _libc.munmap(self.addr, self.length)
            self.addr = None


_alone = False


@contextlib.contextmanager
def caches_alone():
    """Keeps other tests from dropping caches while we measure."""
    global _alone
    if _alone:
        yield
        return
    with open("/run/lock/hashfs-tests.caches", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        _alone = True
        try:
            yield
        finally:
            _alone = False


def drop_caches():
    os.sync()
    with caches_alone():
        _drop_caches()


def _drop_caches():
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def _pages_reclaimed():
    with open("/proc/vmstat") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith(("pgsteal_kswapd ", "pgsteal_direct ")))


def undisturbed(fn):
    """A function that calls @fn, and again, ten times at most, if it fails while the kernel takes pages from the page cache
    by itself, as it does whenever memory is full of it; and twice in any case: it takes single ones and does not count them
    (seen once in some 50 runs with most of the memory free)."""
    @functools.wraps(fn)
    def repeated(*args, **kw):
        for attempt in range(10):
            before = _pages_reclaimed()
            try:
                return fn(*args, **kw)
            except Exception:
                if attempt == 9 or (attempt >= 2 and _pages_reclaimed() == before):
                    raise
    return repeated


def disk_of(path):
    """The block device that the filesystem of @path is on, as the kernel numbers it. btrfs has one of its own making."""
    dev = os.stat(path).st_dev
    return "%d:%d" % (os.major(dev), os.minor(dev))


def meminfo_cached():
    """Bytes of page cache of the whole machine."""
    with open("/proc/meminfo") as f:
        for line in f:
            if line.startswith("Cached:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no Cached")


class ControlGroup:
    """One of our own. Its dir is None where there is no such controller."""

    def __init__(self, controller_v1, controller):
        v1, v2 = "/sys/fs/cgroup/" + controller_v1, "/sys/fs/cgroup"
        self.dir = None
        self.is_v1 = os.path.exists(v1 + "/cgroup.procs")
        try:
            if not self.is_v1:
                self._write(v2 + "/cgroup.subtree_control", "+" + controller)
            path = "%s/hashfs-test.%d" % (v1 if self.is_v1 else v2, os.getpid())
            os.mkdir(path)
        except OSError:
            return
        self.dir = path

    @staticmethod
    def _write(path, text):
        with open(path, "w") as f:
            f.write(text)

    def set(self, name, text):
        self._write(self.dir + "/" + name, text)

    def enter(self):
        """The calling process and those that it begins are in it from now on."""
        self.set("cgroup.procs", "0")

    def close(self):
        if self.dir:
            os.rmdir(self.dir)


class PageCacheOf(ControlGroup):
    """What the page cache holds because of the processes in it, whatever else the machine does."""

    def __init__(self):
        super().__init__("memory", "memory")
        self.key = "total_cache" if self.is_v1 else "file"

    def bytes(self):
        with open(self.dir + "/memory.stat") as f:
            return next(int(line.split()[1]) for line in f if line.split()[0] == self.key)

    def grown_by(self, fn, *args):
        """How much more there is after a child process has called @fn, which must not fail."""
        before = self.bytes()
        pid = os.fork()
        if pid == 0:
            try:
                self.enter()
                fn(*args)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        if os.waitpid(pid, 0)[1]:
            raise RuntimeError("the child has failed")
        return self.bytes() - before


class SlowDisk(ControlGroup):
    """For the processes in it, the disk below @path does so many reads a second."""

    def __init__(self, path, reads):
        super().__init__("blkio", "io")
        if self.dir:
            disk = disk_of(path)
            if self.is_v1:
                self.set("blkio.throttle.read_iops_device", "%s %d" % (disk, reads))
            else:
                self.set("io.max", "%s riops=%d" % (disk, reads))
