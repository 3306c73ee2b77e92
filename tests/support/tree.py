"""Files with everything about them chosen, made natively and in the same way in every guest."""
import os
import random

OLD = 1_000_000_000_123_456_789  # 2001-09-09, with a nanosecond part


def noise(seed, size):
    """@size bytes that depend on @seed alone."""
    return random.Random(str(seed)).randbytes(size)


def acl(*entries):
    """A POSIX ACL as an xattr's value, from (tag, permissions, id) with tags as in linux/posix_acl.h."""
    ret = (2).to_bytes(4, "little")
    for tag, perm, who in entries:
        ret += tag.to_bytes(2, "little") + perm.to_bytes(2, "little") + (who & 0xffffffff).to_bytes(4, "little")
    return ret


USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")


def put(path, content, mode=0o644, uid=0, gid=0, mtime=OLD, atime=None, xattrs=None, holes=False):
    """Makes a regular file. @holes: @content is [(offset, bytes), …, (size, b"")]."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if holes:
            for offset, data in content:
                os.pwrite(fd, data, offset)
            os.ftruncate(fd, content[-1][0])
        else:
            os.write(fd, content)
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
        for name, value in (xattrs or {}).items():
            os.setxattr(fd, name, value)
    finally:
        os.close(fd)
    os.utime(path, ns=(atime or mtime, mtime))


def settle(top):
    """Gives every directory below @top one old mtime, so that a change shows."""
    for d, _, _ in os.walk(top, topdown=False):
        os.utime(d, ns=(OLD, OLD))


def slurp(path):
    with open(path, "rb", buffering=0) as f:
        return f.read()
