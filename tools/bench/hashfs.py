"""Times work on hashfs and on what else could carry a guest, one after another, in the same run.

All are over copies of one root tree in one image; hashfs over a pool of three such guests that was hashified. Prints a table and
what is asked of hashfs; --csv writes every single figure."""
import argparse
import contextlib
import functools
import os
import random
import shutil
import statistics
import subprocess
import sys
import time

import figures
from place import Place, run

FUSE_PEERS = ("mergerfs", "fuse-overlayfs", "rofiles-fuse", "passthrough_hp", "passthrough_hp uring")
OURS = ("hashfs", "hashfs uring")
FLOORS = ("null", "null uring")  # which carry no tree
OPTIONS_MERGERFS = ("link_cow=true,cache.files=auto-full,cache.entry=3600,cache.attr=3600,cache.negative_entry=3600,"
                    "cache.symlinks=true,cache.readdir=true,allow_other,use_ino")
URING = "/sys/module/fuse/parameters/enable_uring"
SMALL = 16384
MANY = 2000  # small files that are opened
BIG = 256 << 20
CREATED = 4000
BREAKS = {"4 KiB": (4096, 200), "1 MiB": (1 << 20, 20), "1 GiB": (1 << 30, 1)}


def drop_caches():
    run("sync")
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def is_mount(path):
    return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev


class Bench(Place):
    def __init__(self, o):
        self.uring_was = open(URING).read().strip() if os.path.exists(URING) else None
        super().__init__("hashfs-bench.", o.dir)
        self.o = o
        self.plain, self.pool = self.disk + "/plain", self.disk + "/pool"
        self.rows = []

    def clean_up(self):
        if self.uring_was:
            self.set_uring(self.uring_was)
        super().clean_up()

    def set_uring(self, value):
        with open(URING, "w") as f:
            f.write(value)

    # The corpus

    def fill(self, kind):
        guest = self.o.guest
        size = int(subprocess.check_output(["du", "-sx", "-B1", guest]).split()[0])
        self.new_image(5 * size + (8 << 30), "mkfs." + kind, "-q", "-F" if kind == "ext4" else "-f")
        run("mount", "-o", "loop", self.image, self.disk)
        os.mkdir(self.pool)
        for where in (self.plain, self.pool + "/a", self.pool + "/b", self.pool + "/c"):
            run("cp", "-ax", guest, where)
        for name, (length, count) in BREAKS.items():
            for i in range(count):
                self.put_all("break/%s %d" % (name, i), length)
        for what in ("plain", "pool/a"):
            os.mkdir("%s/%s/bench" % (self.disk, what))
            with open("%s/%s/bench/big" % (self.disk, what), "wb") as f:
                for _ in range(BIG >> 20):
                    f.write(os.urandom(1 << 20))
        self.tarball = self.top + "/tree.tar"
        run("tar", "-C", self.plain, "-cf", self.tarball, self.o.tree)
        self.hashify()
        self.list_files()

    def put_all(self, name, length):
        """The same file in two guests."""
        block = random.Random(name).randbytes(min(length, 1 << 20))
        for g in "ab":
            path = "%s/%s/%s" % (self.pool, g, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                for i in range(-(-length // len(block))):
                    f.write(i.to_bytes(8, "little") + block[8:])
            os.utime(path, (1, 1))

    def hashify(self):
        run(self.o.build + "/hashify/hashify", "-q", self.pool)

    def list_files(self):
        files = []
        for d, _, names in os.walk(self.plain):
            for n in names:
                path = os.path.join(d, n)
                if not os.path.islink(path) and os.path.isfile(path):
                    files.append((os.path.relpath(path, self.plain), os.path.getsize(path)))
        files.sort()
        self.names = [f for f, _ in files]
        small = [f for f, size in files if 0 < size <= SMALL and f.startswith("usr/")]
        self.small = small[::max(1, len(small) // MANY)][:MANY]

    # What carries the tree

    @contextlib.contextmanager
    def unmounted_after(self):
        try:
            for _ in range(200):
                if is_mount(self.mnt):
                    break
                time.sleep(0.05)
            else:
                raise SystemExit("bench: it does not mount")
            yield self.mnt
        finally:
            run("umount", self.mnt)

    @contextlib.contextmanager
    def layers(self):
        dirs = [self.disk + "/upper", self.disk + "/work"]
        for d in dirs:
            os.mkdir(d)
        try:
            yield "lowerdir=%s,upperdir=%s,workdir=%s" % (self.plain, *dirs)
        finally:
            for d in dirs:
                shutil.rmtree(d)

    @contextlib.contextmanager
    def started(self, *command):
        """A filesystem that stays in the foreground, or not."""
        daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with self.unmounted_after() as where:
                yield where
        finally:
            daemon.wait(30)

    @contextlib.contextmanager
    def carried(self, target):
        """The tree, carried by @target: its path."""
        if target.endswith(" uring"):
            self.set_uring("Y")
        try:
            with contextlib.ExitStack() as stack:
                enter = stack.enter_context
                if target == "native":
                    yield self.plain
                elif target == "overlayfs":
                    run("mount", "-t", "overlay", "-o", enter(self.layers()), "overlay", self.mnt)
                    yield enter(self.unmounted_after())
                elif target == "mergerfs":
                    yield enter(self.started("mergerfs", "-o", OPTIONS_MERGERFS, self.plain, self.mnt))
                elif target == "fuse-overlayfs":
                    yield enter(self.started("fuse-overlayfs", "-o", enter(self.layers()) + ",allow_other", self.mnt))
                elif target == "rofiles-fuse":
                    yield enter(self.started("rofiles-fuse", "--copyup", "-o", "allow_other", self.plain, self.mnt))
                elif target.startswith("passthrough_hp"):
                    yield enter(self.started(self.o.hp, "--foreground", *self.io_uring(target), self.plain, self.mnt))
                elif target in FLOORS:
                    yield enter(self.started(self.o.null, *self.io_uring(target), self.mnt))
                else:
                    yield enter(self.hashfs(target.endswith(" uring")))
        finally:
            if self.uring_was:
                self.set_uring(self.uring_was)

    def io_uring(self, target):
        return ["-o", "io_uring"] if target.endswith(" uring") else []

    def hashfs(self, uring=False, *options):
        options = ",".join(["passthrough=yes", "uring=" + ("yes" if uring else "no"), *options])
        return self.started(self.o.build + "/fs/hashfs", "-f", "-o", options, self.pool + "/a", self.mnt)

    # Work

    def calls(self, *args, names=None):
        text = "".join(n + "\n" for n in names) if names else None
        return float(subprocess.check_output([self.o.build + "/calls", *args], input=text, text=True))

    def seconds(self, *command, may_fail=False):
        start = time.monotonic()
        subprocess.run(command, check=not may_fail, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL if may_fail else None)
        return time.monotonic() - start

    def work(self, root):
        """Yields what was done, and how long it took: microseconds a call, or seconds."""
        calls, at = self.calls, functools.partial(os.path.join, root)
        small, names = [at(n) for n in self.small], [at(n) for n in self.names]
        drop_caches()
        yield "walk cold, s", calls("walk", root)
        yield "walk warm, s", min(calls("walk", root) for _ in range(3))
        calls("read", names=small)
        calls("lstat", names=names)
        yield "lstat", calls("-n", "3", "lstat", names=names)
        for n in self.o.processes:
            yield "open+close, %d" % n, calls("-p", str(n), "-n", "8", "open", names=small)
        yield "open+read+close, 1", calls("-n", "8", "read", names=small)
        big = at("bench/big")
        calls("preads", big)
        yield "read 1 MiB", calls("-n", "8", "preads", big)
        yield "read 4 KiB", calls("-n", "4", "preadr", big)
        yield "map, a page", calls("-n", "8", "fault", big)
        yield "write 1 MiB", calls("-n", "2", "pwrites", big)
        yield "write 4 KiB", calls("-n", "2", "pwriter", big)
        run("sync", "-f", big)
        d = at("bench/new")
        os.mkdir(d)
        yield from self.changes(d)
        # rofiles-fuse cannot set the times of directories; all else is done then.
        yield "untar, s", self.seconds("tar", "-C", d, "-xf", self.tarball, may_fail=True)
        yield "rm -rf, s", self.seconds("rm", "-rf", d)
        yield from self.guest_work(root)

    def changes(self, d):
        for what in ("create", "rename", "unlink"):
            yield what, self.calls("-n", str(CREATED), what, d)

    def null_work(self, root):
        """The same with files of its own, as far as a filesystem goes that only answers."""
        files = ["%s/open/0.%d/f%d" % (root, i // 200, i) for i in range(len(self.small))]
        os.mkdir(root + "/open")
        self.calls("-n", str(len(files)), "create", root + "/open")
        self.calls("read", names=files)
        for n in self.o.processes:
            yield "open+close, %d" % n, self.calls("-p", str(n), "-n", "8", "open", names=files)
        yield "open+read+close, 1", self.calls("-n", "8", "read", names=files)
        os.mkdir(root + "/new")
        yield from self.changes(root + "/new")

    def guest_work(self, root):
        """What a guest does with its own programs, as far as it has them."""
        def has(program):
            return os.path.exists(root + "/usr/bin/" + program)

        def inside(*command):
            script = 'mount -t devtmpfs dev "$0/dev" && exec chroot "$@"'
            return self.seconds("unshare", "-m", "sh", "-c", script, root, root, *command)
        if has("python3"):
            command = "python3", "-c", "import json, asyncio, http.client, xml.dom.minidom, unittest, decimal"
            inside(*command)
            yield "python3, s", min(inside(*command) for _ in range(3))
        if has("git"):
            repo = "/bench/repo"
            run("sh", "-c", "mkdir -p %s%s && tar -C %s%s -xmf %s" % (root, repo, root, repo, self.tarball))
            git = "git", "-c", "user.name=b", "-c", "user.email=b@b", "-c", "safe.directory=*", "-C", repo
            inside(*git, "init", "-q")
            yield "git add, s", inside(*git, "add", ".")
            inside(*git, "status", "-s")
            yield "git status, s", min(inside(*git, "status", "-s") for _ in range(3))
            shutil.rmtree(root + repo)
        if has("gcc"):
            os.makedirs(root + "/bench/c")
            script = "cd /bench/c && for i in $(seq 60); do echo '#include <stdio.h>\n#include <stdlib.h>\n#include <pthread.h>\n" \
                     "#include <sys/socket.h>\nint f'$i'(void) { return puts(\"\"); }' >$i.c && gcc -O1 -c $i.c || exit 1; done"
            inside("sh", "-c", script)
            yield "60 × gcc, s", inside("sh", "-c", script)
            shutil.rmtree(root + "/bench/c")
        if self.o.debs:
            run("sh", "-c", "mkdir -p %s/bench/debs && cp %s/*.deb %s/bench/debs" % (root, self.o.debs, root))
            debs = ["/bench/debs/" + n for n in os.listdir(self.o.debs) if n.endswith(".deb")]
            yield "dpkg -i, s", inside("dpkg", "-i", *debs)
            shutil.rmtree(root + "/bench/debs")
            packages = subprocess.check_output(["sh", "-c", "for d in %s/*.deb; do dpkg-deb -f $d Package; done" % self.o.debs],
                                               text=True).split()
            inside("dpkg", "-P", "--force-depends", *packages)

    def breaks(self):
        """Yields what breaks cost, as a mount has them by default and without flush, and cp of the same files."""
        for how, options in (("", ()), (" volatile", ("volatile",))):
            for what in ("break", "truncate"):
                with self.hashfs(False, *options) as root:
                    for size, (_, count) in BREAKS.items():
                        files = ["%s/break/%s %d" % (root, size, i) for i in range(count)]
                        self.calls("lstat", names=files)
                        for f in files:
                            run("cat", f, stdout=subprocess.DEVNULL)
                        yield "%s %s%s" % (what, size, how), self.calls(what, names=files)
                        run("sync")
                self.hashify()  # they become links again, or not if they are empty now
                for size, (length, count) in BREAKS.items():
                    for i in range(count if what == "truncate" else 0):
                        self.put_all("break/%s %d" % (size, i), length)
                self.hashify()
        for size, (_, count) in BREAKS.items():
            to = self.disk + "/copies"
            os.mkdir(to)
            files = ["%s/b/break/%s %d" % (self.pool, size, i) for i in range(count)]
            run("cat", *files, stdout=subprocess.DEVNULL)
            yield "cp " + size, self.seconds("cp", "--reflink=auto", *files, to) * 1e6 / count
            shutil.rmtree(to)

    def record(self, kind, target, what, value):
        self.rows.append(dict(fs=kind, target=target, what=what, value=value))

    def round(self, kind):
        for target in self.targets:
            with self.carried(target) as root:
                try:
                    for what, value in self.null_work(root) if target in FLOORS else self.work(root):
                        self.record(kind, target, what, value)
                except subprocess.CalledProcessError as e:
                    if target not in FUSE_PEERS:
                        raise
                    print("  %s fails: %s" % (target, e), flush=True)  # not all of them can do all of it
            print("  %s %s" % (kind, target), flush=True)
        for what, value in self.breaks() if self.o.breaks else ():
            self.record(kind, "hashfs", what, value)

    # Results

    def median(self, kind, target, what):
        found = [r["value"] for r in self.rows if (r["fs"], r["target"], r["what"]) == (kind, target, what)]
        return statistics.median(found) if found else None

    def judge(self, kind):
        def m(target, what):
            return self.median(kind, target, what)
        ours = "hashfs"
        peers = [t for t in self.targets if t in FUSE_PEERS]
        for what in ("open+close, 1", "open+read+close, 1"):
            for t in peers:
                yield "%s: %s / hashfs" % (what, t), m(t, what) / m(ours, what), ">=", 3
            yield what + ": hashfs / overlayfs", m(ours, what) / m("overlayfs", what), "<=", 4
        for what in ("lstat", "walk warm, s"):
            yield what + ": hashfs / overlayfs", m(ours, what) / m("overlayfs", what), "<=", 1.15
        what = "walk cold, s"
        native, over = m("native", what), m("overlayfs", what)
        yield "walk cold: hashfs / (1.5 × native + what overlayfs adds)", m(ours, what) / (1.5 * native + max(0, over - native)), "<=", 1
        for t in peers:
            yield "walk cold: %s / hashfs" % t, m(t, what) / m(ours, what), ">", 1
        for what in ("read 1 MiB", "read 4 KiB", "map, a page", "write 1 MiB", "write 4 KiB"):
            yield what + ": native / hashfs", m("native", what) / m(ours, what), ">=", 0.95
        for what in ("create", "rename", "unlink", "untar, s", "rm -rf, s"):
            for t in peers:
                yield "%s: %s / hashfs" % (what, t), m(t, what) / m(ours, what), ">=", 1.5
        if self.o.breaks:
            for size in BREAKS:
                for how in ("", " volatile"):
                    yield "break %s%s / cp" % (size, how), m(ours, "break " + size + how) / m(ours, "cp " + size), "<=", 1.2
            yield "truncate 1 GiB / 4 KiB", m(ours, "truncate 1 GiB") / m(ours, "truncate 4 KiB"), "<=", 2

    def table(self, kind):
        print("\n%s: %d files, medians of %d; µs a call where there is no s" % (kind, len(self.names), self.o.rounds))
        kinds = list(dict.fromkeys(r["what"] for r in self.rows if r["fs"] == kind))
        print("%-20s" % "" + "".join("%15s" % t.replace("passthrough_", "") for t in self.targets))
        for what in kinds:
            cells = [self.median(kind, t, what) for t in self.targets]
            print("%-20s" % what + "".join("%15s" % ("" if c is None else "%.3f" % c) for c in cells))

    def verdict(self, kind):
        good = True
        for what, value, relation, wanted in self.judge(kind):
            holds = {"<=": value <= wanted, ">=": value >= wanted, ">": value > wanted}[relation]
            good = good and holds
            print("  %-4s %-60s %8.2f  (%s %s)" % ("ok" if holds else "MISS", what, value, relation, wanted))
        return good

    def main(self):
        self.targets = ["native", "overlayfs", *FUSE_PEERS, *OURS, *FLOORS]
        if not self.o.hp:
            self.targets = [t for t in self.targets if not t.startswith(("passthrough_hp", "null"))]
        if self.uring_was is None:
            self.targets = [t for t in self.targets if not t.endswith(" uring")]
        if self.o.targets:
            self.targets = [t for t in self.targets if t in self.o.targets.split(",")]
        good = True
        for kind in self.o.fs.split(","):
            self.fill(kind)
            for _ in range(self.o.rounds):
                self.round(kind)
            self.table(kind)
            good = (self.o.targets or self.verdict(kind)) and good
            run("umount", "-d", self.disk)
        if self.o.csv:
            figures.write_csv(self.o.csv, self.rows)
        return 0 if good else 1


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--hp", help="libfuse's passthrough_hp")
    p.add_argument("--null", help="null.c, with the same libfuse")
    p.add_argument("--guest", required=True, help="the root tree to use")
    p.add_argument("--tree", default="usr/lib/python3", help="what is unpacked and removed: a directory of it")
    p.add_argument("--debs", help="a directory of packages that the guest does not have and could install")
    p.add_argument("--fs", default="ext4")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--processes", type=lambda s: [int(n) for n in s.split(",")], default=[1, 2, 4, 8])
    p.add_argument("--targets", help="only these, and no judgement")
    p.add_argument("--no-breaks", dest="breaks", action="store_false")
    p.add_argument("--csv")
    p.add_argument("--dir", default="/var/tmp", help="where the image goes")
    return p.parse_args()


if __name__ == "__main__":
    sys.exit(Bench(options()).main())
