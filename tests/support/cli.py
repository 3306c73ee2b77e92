"""Pools to try hashify on, and what it says."""
import contextlib
import json
import os
import shutil
import stat
import subprocess

import inventory
import kernel
import tree
from cases import NotHere, expect, expect_equal

HASHIFY = os.environ["HASHIFY"]
FULL = os.environ.get("TEST_SCALE") == "full"
COMMANDS = ("stat", "gc", "verify", "index", "why", "unshare")
VARYING = ["seconds", "dry_run", "recovered"]  # in a summary, from run to run
if HASHIFY.endswith("8bit"):
    VARYING.append("would_free")  # an estimate that goes by digests


# The environment of what is going to be killed. LeakSanitizer looks on from a process of its own, which would outlive that
# and keep the filesystem busy.
MORTAL = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")


def command(*args, user=None, limit=600, env=None, **kw):
    """Runs hashify, for @limit seconds at most, and returns its result as subprocess.run does."""
    env = env or dict(os.environ, LC_ALL="C")
    if user is not None:
        kw["user"] = kw["group"] = user
        kw["extra_groups"] = []
    return subprocess.run([HASHIFY, *args], capture_output=True, env=env, timeout=limit, **kw)


def summary(*args, status=0, defaults=False, **kw):
    """Runs hashify --json and returns what it printed, which must add up. Only with @defaults a pass leaves alone what it does
    by default: most tests call their files as they like."""
    is_pass = args[0] not in COMMANDS
    r = command(*args, "--json", *(["--no-default-excludes"] if is_pass and not defaults else []), **kw)
    expect(r.returncode == status, "status", r.returncode, "of hashify", *args, r.stderr.decode(errors="replace"))
    s = json.loads(r.stdout)
    if "seen" in s:
        expect_equal(s["already_linked"] + s["objects_created"] + s["linked"] + sum(s["skipped"].values()), s["seen"],
                     "the parts of what was seen")
    return s


def preloaded(**fault):
    """The environment of a hashify whose system calls fail as tests/cli/fault.c tells."""
    env = dict(os.environ, LC_ALL="C", LD_PRELOAD=os.environ["FAULT_SO"], **fault)
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return env


def constant(s):
    return {k: v for k, v in s.items() if k not in VARYING}


def full_inventory(pool):
    """What a guest may notice natively, but for link counts: of all guests."""
    return {g: inventory.inventory(os.path.join(pool, g), marks=False, hardlinks=False) for g in guests(pool)}


def stamps(pool):
    """ctime, inode and link count of every name in the guests."""
    ret = {}
    for g in guests(pool):
        for rel in inventory.walk(os.path.join(pool, g)):
            st = os.lstat(os.path.join(pool, g, rel))
            ret[g, rel] = (st.st_ino, st.st_nlink, st.st_ctime_ns, st.st_mtime_ns)
    return ret


def guests(pool):
    return sorted(n for n in os.listdir(pool) if n != ".hash" and stat.S_ISDIR(os.lstat(os.path.join(pool, n)).st_mode))


def expect_same(before, after, what):
    for key in before.keys() | after.keys():
        b, a = before.get(key), after.get(key)
        if isinstance(b, dict) and isinstance(a, dict):
            expect_same(b, a, what)
        else:
            expect_equal(a, b, "%s: %r" % (what, key))


class Pool:
    """A directory of its own, with what a test puts into it."""

    def __init__(self, path):
        self.path = path
        os.mkdir(path)

    def at(self, *rel):
        return os.path.join(self.path, *rel)

    def put(self, rel, content, **kw):
        tree.put(self.at(rel), content, **kw)
        return self.at(rel)

    def put_all(self, rel, content, guests="abc", **kw):
        for g in guests:
            self.put(g + "/" + rel, content, **kw)

    def settle(self):
        for g in guests(self.path):
            tree.settle(self.at(g))

    def dry_run(self):
        """A dry run, which must not change a thing."""
        names, before = sorted(os.listdir(self.path)), stamps(self.path)
        s = summary("--dry-run", self.path)
        expect_equal(sorted(os.listdir(self.path)), names, "names in the pool after a dry run")
        expect_same(before, stamps(self.path), "changed by a dry run")
        return s

    def run(self, **kw):
        """A pass, which a dry run foretells, and which changes nothing that a guest may notice."""
        for g in guests(self.path):
            sync(self.at(g))  # what is not allocated yet has other blocks afterwards
        foretold = self.dry_run()
        before = full_inventory(self.path)
        s = summary(self.path, **kw)
        expect_same(before, full_inventory(self.path), "changed by a pass")
        expect_same(constant(foretold), constant(s), "a dry run foretold otherwise")
        expect_equal(os.listdir(self.at(".hash/tmp")), [], "left in tmp/")
        return s

    def objects(self):
        return [os.path.join(d, n) for d, _, names in os.walk(self.at(".hash/objects")) for n in names]

    def inode(self, rel):
        return os.lstat(self.at(rel)).st_ino

    def linked(self, *rels):
        """Are all of these names of one object?"""
        inodes = {self.inode(r) for r in rels}
        return len(inodes) == 1 and inodes <= {os.lstat(o).st_ino for o in self.objects()}

    def expect_linked(self, *rels):
        expect(self.linked(*rels), "not linked:", *rels)

    def expect_private(self, *rels):
        for r in rels:
            expect_equal(os.lstat(self.at(r)).st_nlink, 1, "link count of " + r)


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    os.sync()


@contextlib.contextmanager
def new_pool(top, name="pool-under-test"):
    """A pool in @top, gone afterwards."""
    path = os.path.join(top, name)
    pool = Pool(path)
    try:
        yield pool
    finally:
        subprocess.run(["chattr", "-R", "-ia", path], stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", "--one-file-system", path], check=True)


@contextlib.contextmanager
def shared_pool(top, guests="abc", **files):
    """A pool in @top in which these @files, name=content, are shared by all @guests."""
    with new_pool(top) as pool:
        for name, content in files.items():
            pool.put_all(name, content, guests=guests)
        summary(pool.path)
        yield pool


@contextlib.contextmanager
def mounted(source, mnt):
    """@source at @mnt, which is made for that."""
    os.mkdir(mnt)
    try:
        with _served(source, mnt):
            yield mnt
    finally:
        os.rmdir(mnt)


def mounted_on_itself(source):
    return _served(source, source)


@contextlib.contextmanager
def _served(source, mnt):
    if os.environ["HASHFS"] == HASHIFY or not os.path.exists("/dev/fuse"):
        raise NotHere("no hashfs or no /dev/fuse")
    subprocess.run([os.environ["HASHFS"], source, mnt], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", mnt], check=True)
