#!/usr/bin/env python3
"""Sequences of operations on the file f of a directory that also holds g, another link of the same object.

    sequences.py seed POOL NATIVE LENGTH
    sequences.py run POOL NATIVE MOUNTS LENGTH MODE

TEST_ONLY="open_ro write chmod" runs that one.
"""
import errno
import itertools
import os
import stat
import sys

import kernel
import tree
from cases import short

SIZE = 5000
TEXT = tree.noise("text", SIZE)


class Side:
    """One of the two trees: the mounted, or the native one."""

    def __init__(self, d):
        self.d = d
        self.f, self.g, self.h = d + "/f", d + "/g", d + "/h"
        self.fds = []  # [fd, writable, content when it was opened]
        self.step = 0

    def first(self):
        return self.fds[0][0]

    def writer(self):
        return next(fd for fd, writable, _ in self.fds if writable)

    def keep(self, fd, writable):
        self.fds.append([fd, writable, os.pread(fd, 1 << 20, 0)])

    def close(self):
        for fd, _, _ in self.fds:
            os.close(fd)
        self.fds = []

    # Each is told apart from the others of its sequence by its step.

    def open_ro(self):
        self.keep(os.open(self.f, os.O_RDONLY), False)

    def open_rw(self):
        self.keep(os.open(self.f, os.O_RDWR), True)

    def close_first(self):
        os.close(self.fds.pop(0)[0])

    def write(self):
        fd = os.open(self.f, os.O_WRONLY)
        os.pwrite(fd, b"by path %d" % self.step, 10 * self.step)
        os.close(fd)

    def rewrite(self):
        fd = os.open(self.f, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, b"rewritten %d" % self.step)
        os.close(fd)

    def truncate(self):
        os.truncate(self.f, 1000 + self.step)

    def chmod(self):
        os.chmod(self.f, 0o600 + self.step)

    def fchmod(self):
        os.fchmod(self.first(), 0o610 + self.step)

    def fsetxattr(self):
        os.setxattr(self.first(), "user.step", b"%d" % self.step)

    def futimens(self):
        os.utime(self.first(), ns=(tree.OLD + self.step, tree.OLD + self.step))

    def fsync(self):
        os.fsync(self.first())

    def pwrite(self):
        os.pwrite(self.writer(), b"by descriptor %d" % self.step, 100 * self.step)

    def ftruncate(self):
        os.ftruncate(self.writer(), 2000 + self.step)

    def unlink(self):
        os.unlink(self.f)

    def rename_away(self):
        os.rename(self.f, self.h)

    def rename_twin_over(self):
        os.rename(self.g, self.f)

    def rename_over_twin(self):
        os.rename(self.f, self.g)

    def exchange_with_twin(self):
        kernel.renameat2(self.f, self.g, kernel.RENAME_EXCHANGE)

    def replace(self):
        with open(self.d + "/new", "wb") as n:
            n.write(b"replaced %d" % self.step)
        os.chmod(self.d + "/new", 0o644)
        os.rename(self.d + "/new", self.f)

    def link(self):
        os.link(self.f, self.h)

    def reopen(self):
        self.keep(os.open("/proc/self/fd/%d" % self.first(), os.O_RDONLY), False)


OPS = [n for n, v in vars(Side).items() if callable(v) and n not in ("__init__", "first", "writer", "keep", "close")]
NEED_FD = {"close_first", "fchmod", "fsetxattr", "futimens", "fsync", "reopen"}
NEED_WRITER = {"pwrite", "ftruncate"}


def worth_it(seq):
    """Without what natively makes no sense: a descriptor that is not there, a name that is gone."""
    fds = []
    for op in seq:
        if op == "open_ro" or op == "reopen" and fds:
            fds.append(False)
        elif op == "open_rw":
            fds.append(True)
        elif op in NEED_FD and not fds or op in NEED_WRITER and True not in fds:
            return False
        if op == "close_first":
            fds.pop(0)
    return True


def sequences(length):
    return [s for n in range(1, length + 1) for s in itertools.product(OPS, repeat=n) if worth_it(s) and
            # What comes last must have something to show, what comes first something to follow.
            (n < 4 or s[0] in ("open_ro", "open_rw"))]


def directory(top, number):
    return "%s/s%d/%d" % (top, number // 500, number)


def seed(pool, native, length):
    for top in (pool + "/a", pool + "/b", native):
        for i in range(len(sequences(int(length)))):
            if top.endswith("/b") and i % 100:
                continue  # guest b needs only some, to be another guest
            for name in "fg":
                tree.put(directory(top, i) + "/" + name, TEXT)


def look(side):
    names = {}
    for n in sorted(os.listdir(side.d)):
        p = side.d + "/" + n
        st = os.lstat(p)
        names[n] = {"mode": oct(stat.S_IMODE(st.st_mode)), "nlink": st.st_nlink, "size": st.st_size, "content": tree.slurp(p),
                    "xattrs": {x: os.getxattr(p, x) for x in os.listxattr(p)}, "ino": st.st_ino}
    fds = []
    for fd, _, _ in side.fds:
        try:
            st = os.fstat(fd)
        except OSError as e:
            fds.append({"fstat": errno.errorcode[e.errno]})
            continue
        fds.append({"mode": oct(stat.S_IMODE(st.st_mode)), "nlink": st.st_nlink, "size": st.st_size,
                    "content": os.pread(fd, 1 << 20, 0), "xattrs": {x: os.getxattr(fd, x) for x in os.listxattr(fd)},
                    "same_as": [n for n, v in names.items() if v["ino"] == st.st_ino]})
    for v in names.values():
        v["same_as"] = [n for n, w in names.items() if w["ino"] == v["ino"]]
    for v in names.values():
        del v["ino"]
    return names, fds


def differences(mounted, native, coherent):
    (gn, gf), (wn, wf) = look(mounted), look(native)
    if sorted(gn) != sorted(wn):
        yield "names %s, natively %s" % (sorted(gn), sorted(wn))
        return
    for n in wn:
        for k in wn[n]:
            if gn[n][k] != wn[n][k]:
                yield "%s: %s is %s, natively %s" % (n, k, short(gn[n][k]), short(wn[n][k]))
    for i, (g, w) in enumerate(zip(gf, wf)):
        _, writable, old = mounted.fds[i]
        if "fstat" in g:
            yield "descriptor %d: fstat gives %s" % (i, g["fstat"])
            continue
        for k in w:
            if k == "content" and not writable and not coherent and g[k] == old:
                continue
            if k == "size" and not writable and not coherent and g["content"] == old:
                continue  # with old content goes the old size or the new
            if g[k] != w[k]:
                yield "descriptor %d: %s is %s, natively %s" % (i, k, short(g[k]), short(w[k]))


def run_one(seq, mounted, native, coherent):
    for step, op in enumerate(seq, 1):
        got = []
        for side in (mounted, native):
            side.step = step
            try:
                getattr(side, op)()
                got.append("ok")
            except OSError as e:
                got.append(errno.errorcode.get(e.errno, str(e.errno)))
            except (IndexError, StopIteration):
                got.append("no descriptor, since an open has failed")
        if got[0] != got[1]:
            yield "%s: %s, natively %s" % (op, *got)
            return
        problems = list(differences(mounted, native, coherent))
        if problems:
            yield from ("after %s: %s" % (op, p) for p in problems)
            return


def run(pool, native, mounts, length, mode):
    only = os.environ.get("TEST_ONLY")
    all_of_them = sequences(int(length))
    bad = []
    for i, seq in enumerate(all_of_them):
        if only and list(seq) != only.split():
            continue
        # What fails already with fewer operations is told once.
        if any(seq[:n] in bad for n in range(1, len(seq))):
            continue
        a, b = Side(directory(mounts + "/a", i)), Side(directory(native, i))
        try:
            problems = list(run_one(seq, a, b, mode == "coherent"))
        except OSError as e:
            problems = [str(e)]
        finally:
            a.close()
            b.close()
        if problems:
            bad.append(seq)
            print("FAIL  %s: %s" % (" ".join(seq), "; ".join(problems)), flush=True)
    print("%s  %d sequences, %d fail" % ("FAIL" if bad else "ok  ", len(all_of_them), len(bad)), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        seed(*sys.argv[2:])
    else:
        sys.exit(run(*sys.argv[2:]))
