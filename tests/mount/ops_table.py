"""The table of ops.py: every way to change a file. Each gets its directory and its path; natively the same must come out.

The directory holds f, g (another link of the same object), other (a link of another object) and private.
"""
import errno
import fcntl
import mmap
import os
import stat
import subprocess

import kernel
import tree
from cases import Failed

SIZE = 10_000
WHEN = 1_234_567_890_111_222_333

OPS = {}


def op(fn):
    OPS[fn.__name__] = fn
    return fn


class Opened:
    def __init__(self, path, flags):
        self.fd = os.open(path, flags)

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


def shell(command, d):
    r = subprocess.run(["sh", "-c", command], cwd=d, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if r.returncode:
        raise Failed("%s: status %d: %s" % (command, r.returncode, r.stdout.decode(errors="replace")))


# ---- content ----

@op
def write_only(d, f):
    with Opened(f, os.O_WRONLY) as fd:
        return os.pwrite(fd, b"XY", 100)


@op
def read_then_write(d, f):
    with Opened(f, os.O_RDWR) as fd:
        old = os.pread(fd, 5000, 10)
        os.pwrite(fd, b"new", 4096)
        return old, os.pread(fd, SIZE, 0)


@op
def write_across_the_end(d, f):
    with Opened(f, os.O_RDWR) as fd:
        os.lseek(fd, -3, os.SEEK_END)
        os.write(fd, b"0123456789")
        os.lseek(fd, 20_000, os.SEEK_SET)
        os.write(fd, b"far")
        return os.fstat(fd).st_size


@op
def open_for_writing_and_nothing_else(d, f):
    with Opened(f, os.O_RDWR) as fd:
        return os.fstat(fd).st_size


@op
def open_with_o_create(d, f):
    with Opened(f, os.O_RDWR | os.O_CREAT) as fd:
        return os.write(fd, b"Z")


@op
def append_descriptor(d, f):
    with Opened(f, os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"one\n")
        return os.write(fd, b"two\n")


@op
def append_by_the_shell(d, f):
    shell("echo line >> f", d)


@op
def overwrite_by_the_shell(d, f):
    shell("echo short > f", d)


@op
def open_truncated(d, f):
    with Opened(f, os.O_WRONLY | os.O_TRUNC) as fd:
        return os.fstat(fd).st_size


@op
def open_truncated_and_write(d, f):
    with Opened(f, os.O_RDWR | os.O_TRUNC | os.O_CREAT) as fd:
        os.write(fd, b"all new")
        return os.pread(fd, 100, 0)


@op
def open_read_only_truncated(d, f):
    with Opened(f, os.O_RDONLY | os.O_TRUNC) as fd:
        return os.read(fd, 10), os.fstat(fd).st_size


@op
def open_append_truncated(d, f):
    with Opened(f, os.O_WRONLY | os.O_TRUNC | os.O_APPEND) as fd:
        return os.write(fd, b"again")


@op
def truncate_by_path_shorter(d, f):
    os.truncate(f, 4999)


@op
def truncate_by_path_longer(d, f):
    os.truncate(f, 123_456)


@op
def truncate_by_path_to_nothing(d, f):
    os.truncate(f, 0)


@op
def truncate_by_path_to_the_same_size(d, f):
    os.truncate(f, SIZE)


@op
def ftruncate_shorter(d, f):
    with Opened(f, os.O_RDWR) as fd:
        os.ftruncate(fd, 17)
        return os.fstat(fd).st_size, os.pread(fd, 100, 0)


@op
def ftruncate_longer(d, f):
    with Opened(f, os.O_WRONLY) as fd:
        os.ftruncate(fd, 50_001)
        return os.fstat(fd).st_size


@op
def ftruncate_of_a_read_only_descriptor(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.ftruncate(fd, 17)


@op
def write_to_a_read_only_descriptor(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.write(fd, b"no")


@op
def write_by_o_sync(d, f):
    with Opened(f, os.O_WRONLY | os.O_SYNC) as fd:
        os.write(fd, b"durable")
        os.fsync(fd)


@op
def write_vector_then_fsync(d, f):
    with Opened(f, os.O_WRONLY) as fd:
        r = os.pwritev(fd, [b"ab", b"cdef"], 77)
        os.fdatasync(fd)
        return r


@op
def write_direct(d, f):
    if os.environ["FS_KIND"] == "tmpfs":
        return
    with Opened(f, os.O_RDWR | os.O_DIRECT) as fd, mmap.mmap(-1, 4096) as m:
        m.write(b"D" * 4096)
        return os.pwritev(fd, [m], 4096)


@op
def splice_from_a_pipe(d, f):
    r, w = os.pipe()
    try:
        os.write(w, b"through a pipe")
        with Opened(f, os.O_WRONLY) as fd:
            return os.splice(r, fd, 100, offset_dst=50)
    finally:
        os.close(r)
        os.close(w)


@op
def sendfile_into(d, f):
    with Opened(d + "/g", os.O_RDONLY) as g, Opened(f, os.O_WRONLY) as fd:
        return os.sendfile(fd, g, 5, 3000)


@op
def copy_file_range_into(d, f):
    with Opened(d + "/other", os.O_RDONLY) as src, Opened(f, os.O_WRONLY) as fd:
        return os.copy_file_range(src, fd, 3000, 100, 2000)


@op
def copy_file_range_from_a_link_into_a_link(d, f):
    with Opened(d + "/g", os.O_RDONLY) as src, Opened(f, os.O_WRONLY) as fd:
        return os.copy_file_range(src, fd, 4000, 0, 5000)


@op
def copy_file_range_from(d, f):
    with Opened(f, os.O_RDONLY) as src, Opened(d + "/h", os.O_WRONLY | os.O_CREAT) as fd:
        return os.copy_file_range(src, fd, 9000, 500, 0)


@op
def map_shared_and_store(d, f):
    with Opened(f, os.O_RDWR) as fd, mmap.mmap(fd, 0) as m:
        m[5:9] = b"MMAP"
        m[9000:9004] = b"page"
        m.flush()
        return os.pread(fd, SIZE, 0)


@op
def map_shared_and_store_after_close(d, f):
    with Opened(f, os.O_RDWR) as fd:
        m = mmap.mmap(fd, 0)
    m[4096:4100] = b"late"
    m.close()


@op
def map_private_and_store(d, f):
    with Opened(f, os.O_RDONLY) as fd, mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as m:
        m[0:4] = b"mine"
        return os.pread(fd, 100, 0)


@op
def fallocate_longer(d, f):
    with Opened(f, os.O_RDWR) as fd:
        kernel.fallocate(fd, 0, 0, 40_000)
        return os.fstat(fd).st_size


@op
def fallocate_keep_size(d, f):
    with Opened(f, os.O_RDWR) as fd:
        kernel.fallocate(fd, kernel.KEEP_SIZE, 0, 40_000)
        return os.fstat(fd).st_size


@op
def fallocate_punch_hole(d, f):
    with Opened(f, os.O_RDWR) as fd:
        kernel.fallocate(fd, kernel.KEEP_SIZE | kernel.PUNCH_HOLE, 4096, 4096)
        return os.pread(fd, SIZE, 0)


@op
def fallocate_zero_range(d, f):
    if os.environ["FS_KIND"] == "tmpfs":
        return
    with Opened(f, os.O_RDWR) as fd:
        kernel.fallocate(fd, kernel.ZERO_RANGE, 1000, 2000)
        return os.pread(fd, SIZE, 0)


@op
def write_beside_a_reader(d, f):
    with Opened(f, os.O_RDWR) as w, Opened(f, os.O_RDONLY) as r:
        os.pwrite(w, b"seen?", 0)
        return os.pread(r, 5, 0), os.fstat(r).st_ino == os.fstat(w).st_ino


@op
def two_writers(d, f):
    with Opened(f, os.O_RDWR) as w, Opened(f, os.O_WRONLY | os.O_APPEND) as a:
        os.pwrite(w, b"first", 0)
        os.write(a, b"second")
        return os.pread(w, 20_000, 0)


@op
def lock_then_write(d, f):
    with Opened(f, os.O_RDWR) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        fcntl.lockf(fd, fcntl.LOCK_EX)
        return os.pwrite(fd, b"locked", 0)


@op
def write_after_unlink(d, f):
    with Opened(f, os.O_RDWR) as fd:
        os.unlink(f)
        os.pwrite(fd, b"gone", 0)
        return os.fstat(fd).st_nlink, os.pread(fd, SIZE, 0)


@op
def reopen_by_proc_for_writing(d, f):
    with Opened(f, os.O_PATH) as p, Opened("/proc/self/fd/%d" % p, os.O_WRONLY) as fd:
        return os.write(fd, b"by proc")


@op
def truncate_by_proc(d, f):
    with Opened(f, os.O_PATH) as p:
        os.truncate("/proc/self/fd/%d" % p, 100)


@op
def chmod_by_proc(d, f):
    with Opened(f, os.O_PATH) as p:
        os.chmod("/proc/self/fd/%d" % p, 0o600)


# ---- attributes ----

@op
def chmod(d, f):
    os.chmod(f, 0o751)


@op
def chmod_to_the_same(d, f):
    os.chmod(f, stat.S_IMODE(os.stat(f).st_mode))


@op
def chmod_set_user_id(d, f):
    os.chmod(f, 0o6711)


@op
def chown(d, f):
    os.chown(f, 2001, 2002)


@op
def chown_group_alone(d, f):
    os.chown(f, -1, 2003)


@op
def chown_to_the_same(d, f):
    st = os.stat(f)
    os.chown(f, st.st_uid, st.st_gid)


@op
def chown_nothing(d, f):
    os.chown(f, -1, -1)


@op
def chown_not_following(d, f):
    os.lchown(f, 2001, 2002)


@op
def utimes(d, f):
    os.utime(f, ns=(WHEN, WHEN + 1))


@op
def utimes_now(d, f):
    os.utime(f)


@op
def touch(d, f):
    shell("touch f", d)


@op
def touch_atime_alone(d, f):
    shell("touch -a -d @987654321.123456789 f", d)
    return os.stat(f).st_atime_ns


@op
def touch_mtime_alone(d, f):
    shell("touch -m -d @987654321.123456789 f", d)


@op
def setxattr_new(d, f):
    os.setxattr(f, "user.new", b"value", os.XATTR_CREATE)


@op
def setxattr_replaced(d, f):
    os.setxattr(f, "user.color", b"red", os.XATTR_REPLACE)


@op
def setxattr_that_exists(d, f):
    os.setxattr(f, "user.color", b"red", os.XATTR_CREATE)


@op
def removexattr(d, f):
    os.removexattr(f, "user.color")


@op
def setfacl(d, f):
    shell("setfacl -m u:1004:r-x,g:1005:rwx f", d)


@op
def setfacl_remove_all(d, f):
    shell("setfacl -b f", d)


@op
def setcap(d, f):
    shell("setcap cap_net_bind_service=ep f", d)


@op
def setcap_remove(d, f):
    os.removexattr(f, "security.capability")


@op
def fchmod(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.fchmod(fd, 0o700)
        return oct(os.fstat(fd).st_mode), os.pread(fd, SIZE, 0)


@op
def fchown(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.fchown(fd, 3001, 3002)
        st = os.fstat(fd)
        return st.st_uid, st.st_gid, oct(st.st_mode)


@op
def futimens(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.utime(fd, ns=(WHEN, WHEN + 5))
        return os.fstat(fd).st_mtime_ns


@op
def futimens_now(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.utime(fd)


@op
def fsetxattr(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.setxattr(fd, "user.by.fd", b"1")
        return os.getxattr(fd, "user.by.fd")


@op
def fremovexattr(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.removexattr(fd, "user.color")


@op
def fsetfacl(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.setxattr(fd, "system.posix_acl_access", tree.acl(
            (tree.USER_OBJ, 6, -1), (tree.USER, 4, 1007), (tree.GROUP_OBJ, 4, -1), (tree.MASK, 4, -1), (tree.OTHER, 0, -1)))
        return oct(os.fstat(fd).st_mode)


@op
def all_by_one_read_only_descriptor(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.fchmod(fd, 0o640)
        os.fchown(fd, 3001, 3002)
        os.setxattr(fd, "user.by.fd", b"1")
        os.utime(fd, ns=(WHEN, WHEN))
        st = os.fstat(fd)
        return oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns, st.st_nlink, os.pread(fd, SIZE, 0)


@op
def attribute_by_descriptor_then_write_by_path(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.fchmod(fd, 0o700)
        with Opened(f, os.O_WRONLY) as w:
            os.write(w, b"both")
        return oct(os.fstat(fd).st_mode), oct(os.stat(f).st_mode)


@op
def chattr(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        try:
            kernel.flags_set(fd, kernel.flags_get(fd) | kernel.FS_NODUMP_FL)
        except OSError as e:  # a FUSE filesystem need not have flags
            if e.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM):
                raise


# ---- names ----

@op
def link(d, f):
    os.link(f, d + "/h")
    return os.path.samefile(f, d + "/h")


@op
def link_then_write(d, f):
    os.link(f, d + "/h")
    with Opened(d + "/h", os.O_WRONLY) as fd:
        os.write(fd, b"one file")


@op
def write_then_link(d, f):
    with Opened(f, os.O_WRONLY) as fd:
        os.write(fd, b"one file")
        os.link(f, d + "/h")
        os.write(fd, b", still")


@op
def link_then_chmod_the_old_name(d, f):
    os.link(f, d + "/h")
    os.chmod(f, 0o611)


@op
def link_and_rename_over(d, f):
    """As dpkg does: keep the old file by a link, put the new one over it, drop the old."""
    os.link(f, d + "/f.old")
    os.rename(d + "/other", f)
    os.unlink(d + "/f.old")


@op
def rename(d, f):
    os.rename(f, d + "/h")


@op
def rename_and_write(d, f):
    os.rename(f, d + "/h")
    with Opened(d + "/h", os.O_WRONLY) as fd:
        os.write(fd, b"moved")


@op
def rename_into_a_directory_and_write(d, f):
    os.mkdir(d + "/sub")
    os.rename(f, d + "/sub/h")
    os.rename(d + "/sub", d + "/sub2")
    with Opened(d + "/sub2/h", os.O_WRONLY) as fd:
        os.write(fd, b"moved")


@op
def rename_over(d, f):
    os.rename(d + "/other", f)


@op
def rename_a_link_over_its_twin(d, f):
    os.rename(d + "/g", f)


@op
def rename_over_its_twin(d, f):
    os.rename(f, d + "/g")


@op
def rename_noreplace_to_the_twin(d, f):
    kernel.renameat2(f, d + "/g", kernel.RENAME_NOREPLACE)


@op
def exchange_with_the_twin_and_write(d, f):
    kernel.renameat2(f, d + "/g", kernel.RENAME_EXCHANGE)
    with Opened(f, os.O_WRONLY) as fd:
        os.write(fd, b"swapped")


@op
def exchange_with_a_private_file(d, f):
    kernel.renameat2(f, d + "/private", kernel.RENAME_EXCHANGE)
    os.chmod(f, 0o606)
    os.chmod(d + "/private", 0o660)


@op
def unlink(d, f):
    os.unlink(f)


@op
def unlink_and_make_anew(d, f):
    os.unlink(f)
    with Opened(f, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
        os.write(fd, b"another")


@op
def unlink_open_file_and_change_it(d, f):
    with Opened(f, os.O_RDONLY) as fd:
        os.unlink(f)
        os.fchmod(fd, 0o600)
        return os.fstat(fd).st_nlink, oct(os.fstat(fd).st_mode), os.pread(fd, SIZE, 0)


@op
def move_the_directory_and_write(d, f):
    os.rename(d, d + ".moved")
    try:
        with Opened(d + ".moved/f", os.O_WRONLY) as fd:
            os.write(fd, b"in there")
    finally:
        os.rename(d + ".moved", d)


# ---- programs ----

@op
def sed_in_place(d, f):
    shell("sed -i 's/a/AAA/g' f", d)


@op
def cp_over(d, f):
    shell("cp other f", d)


@op
def cp_over_preserving(d, f):
    shell("cp -a --remove-destination other f", d)


@op
def cp_a_of_a_link(d, f):
    shell("cp -a f h && echo more >> h", d)


@op
def install_over(d, f):
    shell("install -p -m 0750 other f", d)


@op
def mv_over(d, f):
    shell("mv -f other f", d)


@op
def mv_over_the_twin(d, f):
    shell("mv -f g f", d)


@op
def ln_force(d, f):
    shell("ln -f other f", d)


@op
def dd_without_truncation(d, f):
    shell("printf 0123456789 | dd of=f bs=1 seek=4090 conv=notrunc status=none", d)


@op
def shred_once(d, f):
    shell("shred -n 0 -z -s 5000 f", d)


@op
def tar_over(d, f):
    shell("tar cf t.tar other && mkdir x && tar xf t.tar -C x && mv x/other f && rm -r x t.tar", d)
