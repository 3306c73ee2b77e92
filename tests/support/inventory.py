#!/usr/bin/env python3
"""Everything about a tree that a guest may notice, one line per name, for diff(1).

    inventory.py [--no-hardlinks] [--no-marks] [--no-content] TREE > file

Type, mode, owner, size, device, mtime (ns), symlink target, all xattrs (ACLs and capabilities are xattrs), SHA-256
of the content, and which names are hard links of each other. Not atime, which reading changes, nor ctime.

--no-hardlinks  leave the grouping of hard links out (a pool's own links show as such natively)
--no-marks      leave out the mark of an object (for a native look at what must not matter to a guest)
--no-content    do not read files
"""
import argparse
import hashlib
import os
import stat
import sys

MARKS = ("trusted.hashfs.object", "user.hashfs.object")
TYPES = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFSOCK: "s",
         stat.S_IFCHR: "c", stat.S_IFBLK: "b"}


def content_digest(path):
    h = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        buf = bytearray(1 << 20)
        view = memoryview(buf)
        while n := f.readinto(buf):
            h.update(view[:n])
    return h.hexdigest()


def xattrs(path, marks=True):
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in names if marks or n not in MARKS}


def describe(path, marks=True, content=True):
    """One name as a dict; atime and ctime left out."""
    st = os.lstat(path)
    d = {"type": TYPES[stat.S_IFMT(st.st_mode)], "mode": "%04o" % stat.S_IMODE(st.st_mode), "uid": st.st_uid,
         "gid": st.st_gid, "mtime": st.st_mtime_ns}
    if d["type"] == "f":
        d["size"] = st.st_size
    if d["type"] in "cb":
        d["rdev"] = "%d:%d" % (os.major(st.st_rdev), os.minor(st.st_rdev))
    if d["type"] == "l":
        d["target"] = os.readlink(path)
    d["xattrs"] = xattrs(path, marks)
    if d["type"] == "f" and content:
        d["sha256"] = content_digest(path)
    return d


def walk(top):
    """Every name below @top, and "." itself, in one order."""
    todo = ["."]
    while todo:
        rel = todo.pop()
        yield rel
        path = os.path.join(top, rel)
        if not os.path.islink(path) and os.path.isdir(path):
            names = sorted(os.listdir(path), reverse=True)
            todo += [n if rel == "." else rel + "/" + n for n in names]


def inventory(top, marks=True, hardlinks=True, content=True):
    """{name: line}"""
    ret = {}
    first = {}
    for rel in walk(top):
        path = os.path.join(top, rel)
        d = describe(path, marks, content)
        x = ",".join("%s=%s" % (k, v.hex()) for k, v in d.pop("xattrs").items())
        words = ["%s:%s" % (k, v) for k, v in d.items() if k not in ("type", "mode")]
        if x:
            words.append("xattrs:" + x)
        if hardlinks and d["type"] != "d":
            st = os.lstat(path)
            if st.st_nlink > 1:
                words.append("nlink:%d same-as:%s" % (st.st_nlink, first.setdefault((st.st_dev, st.st_ino), rel)))
        ret[rel] = "%s %s %s" % (d["type"], d["mode"], " ".join(words))
    return ret


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--no-marks", action="store_true")
    p.add_argument("--no-hardlinks", action="store_true")
    p.add_argument("--no-content", action="store_true")
    p.add_argument("tree")
    a = p.parse_args()
    for name, line in inventory(a.tree, not a.no_marks, not a.no_hardlinks, not a.no_content).items():
        print(os.fsencode(name).decode("utf-8", "backslashreplace").replace("\n", "\\n"), line)


if __name__ == "__main__":
    sys.exit(main())
