#!/usr/bin/env python3
"""Breaks links in several threads of execution until the power is cut, then says after the next start whether every name has
all of its old content or all of its new.

    powercut.py seed POOL COUNT
    powercut.py break POOL MOUNT COUNT DELAY REPORT   cuts the power of POOL's filesystem DELAY seconds after the first break
    powercut.py check POOL COUNT REPORT
"""
import json
import os
import stat
import sys
import time

import kernel
import tree

SIZE = 70_000
WORKERS = 4
ACTIONS = ("pwrite", "pwrite_fsync", "append_fsync", "chmod", "truncate", "rewrite_fsync", "setxattr")


def old_content(i):
    return tree.noise(("old", i), SIZE)


def seed(pool, count):
    for g in "abc":
        for i in range(count):
            tree.put("%s/%s/d%d/f%d" % (pool, g, i % WORKERS, i), old_content(i), mode=0o644, uid=i)
        tree.settle(pool + "/" + g)


def act(action, path):
    """Returns what is promised to be there after a power cut from now on, or None."""
    if action == "chmod":
        os.chmod(path, 0o600)
        return None
    if action == "setxattr":
        os.setxattr(path, "user.k", b"v")
        return None
    if action == "truncate":
        os.truncate(path, 1000)
        return None
    if action == "append_fsync":
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"appended")
    elif action == "rewrite_fsync":
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"rewritten")
    else:
        fd = os.open(path, os.O_WRONLY)
        os.pwrite(fd, b"WRITTEN", 4096)
    if action.endswith("fsync"):
        os.fsync(fd)
    os.close(fd)
    return action if action.endswith("fsync") else None


def new_content(action, i):
    old = old_content(i)
    return {"pwrite": old[:4096] + b"WRITTEN" + old[4103:], "pwrite_fsync": old[:4096] + b"WRITTEN" + old[4103:],
            "append_fsync": old + b"appended", "rewrite_fsync": b"rewritten", "truncate": old[:1000],
            "chmod": old, "setxattr": old}[action]


def worker(mount, w, count, report):
    """Ends with the first error, which is the cut."""
    with open("%s.%d" % (report, w), "w") as done:
        for i in range(w, count, WORKERS):
            action = ACTIONS[i // WORKERS % len(ACTIONS)]
            try:
                durable = act(action, "%s/d%d/f%d" % (mount, i % WORKERS, i))
            except OSError:
                return
            done.write(json.dumps([i, time.monotonic() if durable else None]) + "\n")
            done.flush()


def break_links(pool, mount, count, delay, report):
    pids = []
    for w in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            try:
                worker(mount, w, count, report)
            finally:
                os._exit(0)
        pids.append(pid)
    time.sleep(delay)  # the moment of the cut, not a wait for anything
    # An fsync that the shutdown overtakes may still return 0: ext4 looks for the shutdown first, and then finds no
    # transaction left to wait for. What counts was promised before.
    with open(report + ".cut", "w") as f:
        f.write(str(time.monotonic()))
    kernel.shutdown_fs(os.path.dirname(pool))
    for pid in pids:
        os.waitpid(pid, 0)


def check(pool, count, report):
    done = {}
    cut = float(open(report + ".cut").read())
    for w in range(WORKERS):
        for line in open("%s.%d" % (report, w)):
            i, promised = json.loads(line)
            done[i] = promised is not None and promised < cut
    bad = changed = 0
    for i in range(count):
        rel = "d%d/f%d" % (i % WORKERS, i)
        action = ACTIONS[i // WORKERS % len(ACTIONS)]
        old, new = old_content(i), new_content(action, i)
        try:
            got = tree.slurp("%s/a/%s" % (pool, rel))
            st = os.stat("%s/a/%s" % (pool, rel))
        except OSError as e:
            print("FAIL  a/%s: %s" % (rel, e))
            bad += 1
            continue
        allowed = [old, new]
        # What was opened with O_TRUNC may be empty, as natively: truncation is the first half of its change. And the new size may be
        # there before the data, which then reads as zeros (ext4, delayed allocation): only fsync promises more.
        if action == "rewrite_fsync":
            allowed += [b"", bytes(len(new))]
        # What was appended may be cut off anywhere before its fsync, as natively.
        if action == "append_fsync":
            allowed += [old + b"appended"[:k] + bytes(z) for k in range(8) for z in (0, 8 - k)]
        if done.get(i):
            allowed = [new]
        problems = []
        if got not in allowed:
            problems.append("content is neither the old nor the new (%d bytes that end in %r, %s%s)" % (
                len(got), got[-20:], action, ", was made durable" if done.get(i) else ""))
        if stat.S_IMODE(st.st_mode) not in ((0o644, 0o600) if action == "chmod" else (0o644,)):
            problems.append("mode %o" % st.st_mode)
        if st.st_uid != i:
            problems.append("owner %d" % st.st_uid)
        if got == old and action in ("chmod", "setxattr") and st.st_mtime_ns != tree.OLD:
            problems.append("mtime %d" % st.st_mtime_ns)
        if problems:
            bad += 1
            print("FAIL  a/%s: %s" % (rel, "; ".join(problems)))
        changed += st.st_nlink == 1
        for g in "bc":
            p = "%s/%s/%s" % (pool, g, rel)
            st = os.stat(p)
            if tree.slurp(p) != old or (stat.S_IMODE(st.st_mode), st.st_uid, st.st_mtime_ns) != (0o644, i, tree.OLD):
                bad += 1
                print("FAIL  %s/%s has changed" % (g, rel))
    names = sum(len(os.listdir("%s/a/d%d" % (pool, w))) for w in range(WORKERS))
    if names != count:
        bad += 1
        print("FAIL  guest a has %d names, not %d" % (names, count))
    print("%s  %d of %d links were broken before the cut, %d acknowledged" % (
        "FAIL" if bad else "ok  ", changed, count, len(done)), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    a = sys.argv[2:]
    if sys.argv[1] == "seed":
        seed(a[0], int(a[1]))
    elif sys.argv[1] == "break":
        break_links(a[0], a[1], int(a[2]), float(a[3]), a[4])
    else:
        sys.exit(check(a[0], int(a[1]), a[2]))
