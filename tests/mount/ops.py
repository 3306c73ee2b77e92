#!/usr/bin/env python3
"""Every kind of modification, done to a link through guest a's mount and to a plain file next to the pool, must have the same
result; and guests b and c, and the objects, must not notice.

    ops.py seed POOL NATIVE all|few             before hashify
    ops.py run POOL NATIVE MOUNTS all|few MODE  MODE: passthrough, coherent or none

Each is done to several kinds of file in three situations: nothing has looked at it yet; it has been looked at; it is
held open and mapped, read-only. "few" leaves out combinations that no filesystem makes different.
"""
import errno
import mmap
import os
import sys
import time

import inventory
import tree
from cases import Failed, short
from ops_table import OPS, SIZE

KINDS = {
    "plain": dict(mode=0o644),
    "setuid": dict(mode=0o6755, uid=1001, gid=1002),
    "rich": dict(mode=0o755, uid=1001, gid=1002, xattrs={
        "user.color": b"blue", "trusted.note": b"\x00\xff", "security.capability": tree.CAP_NET_RAW,
        "system.posix_acl_access": tree.acl((tree.USER_OBJ, 7, -1), (tree.USER, 6, 1003), (tree.GROUP_OBJ, 5, -1),
                                            (tree.MASK, 7, -1), (tree.OTHER, 5, -1))}),
}
ALL = [(s, k) for s in ("first", "seen", "held") for k in KINDS]
FEW = [("first", "rich"), ("seen", "setuid"), ("held", "plain")]


# ---- what is compared ----

def look(d):
    """All a guest can see of a case's directory."""
    ret = {}
    inodes = {}
    for name in sorted(os.listdir(d)):
        p = d + "/" + name
        st = os.lstat(p)
        s = ret[name] = {"ino": st.st_ino, "nlink": st.st_nlink, "atime": st.st_atime_ns}
        s.update(inventory.describe(p))
        if s["type"] == "f":
            s["content"] = tree.slurp(p)
            s["same_as"] = inodes.setdefault(st.st_ino, name)
    for e in os.scandir(d):
        ret[e.name]["d_ino_ok"] = e.inode() == ret[e.name]["ino"]
    return ret


def differences(got, want, before_got, before_want, start):
    """What guest a shows, against what the native copy does."""
    if sorted(got) != sorted(want):
        yield "names %s, natively %s" % (sorted(got), sorted(want))
        return
    for name in want:
        g, w = got[name], want[name]
        for k in ("type", "mode", "uid", "gid", "size", "nlink", "same_as", "xattrs", "content", "target", "d_ino_ok"):
            if g.get(k) != w.get(k):
                yield "%s: %s is %s, natively %s" % (name, k, short(g.get(k)), short(w.get(k)))
        fresh = g["mtime"] >= start - 50_000_000 and w["mtime"] >= start - 50_000_000
        if g["mtime"] != w["mtime"] and not fresh:
            yield "%s: mtime is %d, natively %d (began at %d)" % (name, g["mtime"], w["mtime"], start)
        if before_got and name in before_got and name in before_want:
            # The other way round says nothing: a filesystem may use a number again.
            kept = w["ino"] == before_want[name]["ino"]
            if kept and g["ino"] != before_got[name]["ino"]:
                yield "%s: st_ino has changed, natively it stays" % name
            if kept and w["atime"] == before_want[name]["atime"] != g["atime"] and g["atime"] != before_got[name]["atime"]:
                yield "%s: atime is %d, was %d" % (name, g["atime"], before_got[name]["atime"])


class Held:
    """A read-only descriptor and mapping from before the operation."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)
        self.map = mmap.mmap(self.fd, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        self.old = os.pread(self.fd, 1 << 20, 0)
        self.ino = os.fstat(self.fd).st_ino
        assert self.map[:] == self.old

    def mapped(self):
        """What the mapping shows, read by a child: it may be too long for a file that was truncated."""
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(r)
                os.write(w, self.map[:])
            finally:
                os._exit(0)
        os.close(w)
        with os.fdopen(r, "rb") as f:
            text = f.read()
        os.waitpid(pid, 0)
        return text or "SIGBUS"

    def see(self):
        st = os.fstat(self.fd)
        return {"read": os.pread(self.fd, 1 << 20, 0), "mapped": self.mapped(), "size": st.st_size,
                "mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "ino_kept": st.st_ino == self.ino,
                "nlink": st.st_nlink}

    def close(self):
        self.map.close()
        os.close(self.fd)


def held_differences(got, want, old, coherent):
    """A descriptor from before shows all of the old file or all of the new one."""
    if coherent:
        for k in want:
            if got[k] != want[k]:
                yield "held descriptor: %s is %s, natively %s" % (k, short(got[k]), short(want[k]))
        return
    if got["read"] not in (old, want["read"]):
        yield "held descriptor reads %s, neither the old nor the new content" % short(got["read"])
    if got["mapped"] not in (old, want["mapped"]):
        yield "held mapping shows %s, neither the old nor the new content" % short(got["mapped"])
    if got["size"] != len(got["read"]):
        yield "held descriptor: fstat says %d bytes, read gives %d" % (got["size"], len(got["read"]))
    # What reads the old object has no rights that the new file may have got since.
    without_rights = oct(int(want["mode"], 8) & ~0o6000)
    if got["mode"] == without_rights:
        want = dict(want, mode=without_rights)
    for k in ("mode", "owner", "ino_kept", "nlink"):
        if got[k] != want[k]:
            yield "held descriptor: %s is %s, natively %s" % (k, got[k], want[k])


def attempt(fn, d):
    try:
        return fn(d, d + "/f")
    except OSError as e:
        return "errno " + os.strerror(e.errno)
    except Failed as e:
        return str(e)


def do(fn, d, situation):
    """One operation in one directory: everything that can be compared."""
    before = look(d) if situation == "seen" else None
    held = Held(d + "/f") if situation == "held" else None
    ret = {"before": before, "start": time.time_ns(), "dir_before": os.stat(d).st_mtime_ns}
    try:
        ret["result"] = attempt(fn, d)
        if held:
            ret["held"], ret["old"] = held.see(), held.old
        ret["dir_after"] = os.stat(d).st_mtime_ns
        ret["after"] = look(d)
    finally:
        if held:
            held.close()
    ret["closed"] = look(d)
    return ret


# How a mount may differ from the filesystem below it, and why.
#
# A second request on a retired node comes from a descriptor; while a passthrough open pins it, "busy" is the honest answer.
BUSY_WHILE_HELD = {"reopen_by_proc_for_writing"}
# The kernel exchanges nothing where both names are one inode; only the daemon knows that two files changed places.
DIRECTORY_MAY_STAY = {"exchange_with_the_twin_and_write"}
# Stores through a mapping come as writes unless the kernel passes them through, and a write drops capabilities.
CAPABILITY_MAY_GO = {"map_shared_and_store", "map_shared_and_store_after_close"}


def forgive(name, got, want, passthrough):
    for g, w in ((got["after"], want["after"]), (got["closed"], want["closed"])):
        if name in CAPABILITY_MAY_GO and not passthrough and "security.capability" not in g["f"]["xattrs"]:
            w["f"]["xattrs"].pop("security.capability", None)
    if name in DIRECTORY_MAY_STAY:
        got["dir_after"] = want["dir_after"] = got["dir_before"] = want["dir_before"] = 0


def case_problems(name, situation, got, want, mode):
    """@mode: passthrough; coherent, which reads links through the daemon; none, no passthrough at all."""
    forgive(name, got, want, mode == "passthrough")
    busy = got["result"] in ("errno " + os.strerror(errno.EBUSY), "errno " + os.strerror(errno.ETXTBSY))
    if name in BUSY_WHILE_HELD and situation == "held" and busy:
        return
    if got["result"] != want["result"]:
        yield "result %s, natively %s" % (short(got["result"]), short(want["result"]))
    yield from differences(got["after"], want["after"], got["before"], want["before"], min(got["start"], want["start"]))
    for p in differences(got["closed"], want["closed"], got["before"], want["before"], min(got["start"], want["start"])):
        yield "after close: " + p
    if situation == "held":
        yield from held_differences(got["held"], want["held"], got["old"], mode != "passthrough")
    if (got["dir_before"] == got["dir_after"]) != (want["dir_before"] == want["dir_after"]):
        yield "the directory's mtime %s, natively it %s" % (
            "stayed" if got["dir_before"] == got["dir_after"] else "moved",
            "stays" if want["dir_before"] == want["dir_after"] else "moves")


# ---- the two phases ----

def case_dirs(which):
    combinations = {"all": ALL, "few": FEW}[which]
    for name in OPS:
        if os.environ.get("TEST_ONLY", "") in name:
            for situation, kind in combinations:
                yield name, situation, kind, "ops/%s/%s/%s" % (name, situation, kind)


def seed(pool, native, which):
    for top in [pool + "/" + g for g in "abc"] + [native]:
        for name, situation, kind, rel in case_dirs(which):
            d = top + "/" + rel
            content = tree.noise((name, situation), SIZE)
            tree.put(d + "/f", content, **KINDS[kind])
            tree.put(d + "/g", content, **KINDS[kind])
            tree.put(d + "/other", tree.noise((name, "other"), 7000), mode=0o600)
            # In every guest another content, so that it is nobody's link.
            tree.put(d + "/private", tree.noise((name, top), 5000) if top.startswith(pool) else b"p" * 5000)
        tree.settle(top)


def run(pool, native, mounts, which, mode):
    cases = failed = 0
    here = mounts + "/a"
    for name, situation, kind, rel in case_dirs(which):
        cases += 1
        # "private" differs between guests by design; natively it must be what guest a has.
        with open(native + "/" + rel + "/private", "r+b") as f:
            f.write(tree.slurp(pool + "/a/" + rel + "/private"))
        os.utime(native + "/" + rel + "/private", ns=(tree.OLD, tree.OLD))
        os.utime(native + "/" + rel, ns=(tree.OLD, tree.OLD))

        others = [pool + "/b/" + rel, pool + "/c/" + rel]
        before = [inventory.inventory(o) for o in others]
        try:
            want = do(OPS[name], native + "/" + rel, situation)
            got = do(OPS[name], here + "/" + rel, situation)
            problems = list(case_problems(name, situation, got, want, mode))
        except Exception as e:
            problems = ["%s: %s" % (type(e).__name__, e)]
        for o, b in zip(others, before):
            if {k: v.split(" nlink:")[0] for k, v in inventory.inventory(o).items()} != \
                    {k: v.split(" nlink:")[0] for k, v in b.items()}:
                problems.insert(0, "CHANGED ANOTHER GUEST: " + o)
        if problems:
            failed += 1
        if problems and failed <= 30:
            print("FAIL  %s, %s, %s: %s" % (name, situation, kind, "; ".join(dict.fromkeys(problems))))
    print("%s  %d operations in %d cases, %d failed" % ("FAIL" if failed else "ok  ", len(OPS), cases, failed), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1] == "seed":
        seed(*sys.argv[2:5])
    else:
        sys.exit(run(*sys.argv[2:7]))
