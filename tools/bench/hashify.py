"""Times passes of hashify and its peers over pools of the same guests, one after another, in the same run.

Each run has a filesystem of its own: a copy of one image. Cold: mounted anew, through a loop device that bypasses the host's
cache. Warm: all was read before. Prints a table and what is asked of hashify; --csv writes every single run."""
import argparse
import collections
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import figures
from place import Place, run

PEERS = {
    "jdupes": ["jdupes", "-r", "-L", "-q"],  # without -Q: it compares bytes, as hashify does
    "rdfind": ["rdfind", "-makehardlinks", "true", "-outputname", "/dev/null"],
    "hardlink": ["hardlink", "-q"],
}
THREADS_READ = (4, 8, 16, 32)
THREADS_LINK = (1, 2, 4)
JOURNAL = 1024  # MiB: what mkfs.ext4 gives filesystems of 128 GB and more, as pools lie on; these images would get 64
OWN = 8 << 20  # bytes that a pass takes for itself, however few files there are: its workers' buffers, the index' cache


class Bench(Place):
    def __init__(self, o):
        super().__init__("hashfs-bench.", o.dir)
        self.o = o
        self.rows = []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    # The corpus

    def make_guest(self, path):
        """A root tree of --files regular files or so: a directory that was given, or parts of this machine's /usr."""
        if self.o.guest:
            run("cp", "-a", self.o.guest + "/.", path)
            return self.o.guest
        parts = ["/usr/" + p for p in ("bin", "sbin", "lib", "share", "include", "libexec")]
        names = sorted(os.path.join(d, n) for p in parts if not os.path.islink(p) for d, _, files in os.walk(p) for n in files)
        chosen = "\0".join(n[1:] for n in names[:self.o.files]).encode()
        tar = subprocess.Popen(["tar", "-C", "/", "-c", "--xattrs", "--null", "-T", "-"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
        unpack = subprocess.Popen(["tar", "-C", path, "-x", "--xattrs", "--xattrs-include=*"], stdin=tar.stdout)
        tar.stdin.write(chosen)
        tar.stdin.close()
        if unpack.wait() != 0 or tar.wait() != 0:
            raise SystemExit("a guest cannot be made of /usr")
        return "this machine's /usr"

    def make_image(self, kind):
        """An image with --guests copies of the guest, a hundredth of the files of each its own; never changed again."""
        image = os.path.join(self.top, kind + ".golden")
        guest = os.path.join(self.top, "guest")
        if not os.path.isdir(guest):
            os.mkdir(guest)
            self.origin = self.make_guest(guest)
        size = int(subprocess.check_output(["du", "-s", "-B1", guest]).split()[0])
        inodes = int(subprocess.check_output("find %s | wc -l" % guest, shell=True))
        with open(image, "wb") as f:
            f.truncate((int(size * self.o.guests * 1.3) >> 20 << 20) + (2 << 30))
        run("mkfs." + kind, *self.options(kind, int(inodes * self.o.guests * 1.2) + 20000), image)
        with self.mounted(image):
            for n in range(self.o.guests):
                g = os.path.join(self.mnt, "guest%02d" % n)
                run("cp", "-a", guest, g)
                self.change(g, "own of %d" % n)
        return image

    @staticmethod
    def options(kind, inodes):
        if kind != "ext4":
            return ["-q", "-f"]
        return ["-q", "-F", "-N", str(inodes), "-J", "size=%d" % JOURNAL]

    def change(self, guest, what):
        """Gives each hundredth file of a guest other bytes, of the same size, and another mtime; returns how many these are."""
        changed = 0
        files = sorted(os.path.join(d, n) for d, _, names in os.walk(guest) for n in names)
        for path in files[::100]:
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            size = os.lstat(path).st_size
            os.unlink(path)  # as a package manager does: a new inode
            with open(path, "wb") as f:
                f.write((what.encode() + path.encode()).ljust(size, b".")[:size])
            changed += 1
        return changed

    # Runs

    @contextlib.contextmanager
    def mounted(self, image):
        loop = subprocess.check_output(["losetup", "--find", "--show", "--direct-io=on", image], text=True).strip()
        try:
            run("mount", loop, self.mnt)
            try:
                yield
            finally:
                run("umount", self.mnt)
        finally:
            run("losetup", "-d", loop)

    @contextlib.contextmanager
    def fresh(self, image, warm):
        work = os.path.join(self.top, "work")
        run("dd", "if=" + image, "of=" + work, "bs=16M", "iflag=direct", "oflag=direct", "conv=sparse,fsync", "status=none")
        try:
            with self.mounted(work):
                with open("/proc/sys/vm/drop_caches", "w") as f:
                    f.write("3")
                if warm:
                    run("sh", "-c", "find %s -type f -print0 | xargs -0 -n 500 -P 4 cat >/dev/null; find %s -ls >/dev/null"
                        % (self.mnt, self.mnt))
                yield
        finally:
            os.unlink(work)

    def timed(self, *args):
        """Seconds, CPU seconds and peak memory in bytes of a command. (A child of this program has its peak, not its own.)"""
        figures = os.path.join(self.top, "figures")
        before = time.monotonic()
        run("time", "-o", figures, "-f", "%U %S %M", *args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - before
        with open(figures) as f:
            user, system, kib = map(float, f.read().split())
        return seconds, user + system, int(kib) * 1024

    def hashify(self, *args):
        return self.timed(self.o.hashify, "--no-default-excludes", "-q", *args, self.mnt)

    def record(self, kind, tool, phase, seconds, cpu=0.0, memory=0):
        self.rows.append(dict(fs=kind, tool=tool, phase=phase, seconds=round(seconds, 4), cpu=round(cpu, 3), memory=memory))
        print("  %-5s %-10s %-14s %8.3f s  %7.2f s CPU  %6.1f MiB" % (kind, tool, phase, seconds, cpu, memory / 2**20), flush=True)

    def median(self, kind, tool, phase):
        found = [r["seconds"] for r in self.rows if (r["fs"], r["tool"], r["phase"]) == (kind, tool, phase)]
        return statistics.median(found) if found else None

    def settle(self):
        """What was written goes to the disk before something else is timed."""
        run("sync")
        time.sleep(1)

    def passes(self, kind, image, tool, warm):
        phase = "warm" if warm else "cold"
        with self.fresh(image, warm):
            once = self.hashify if tool == "hashify" else lambda: self.timed(*PEERS[tool], self.mnt)
            self.record(kind, tool, "first " + phase, *once())
            if not warm:
                return
            self.settle()
            for _ in range(3):
                self.record(kind, tool, "second", *once())
            if tool != "hashify":
                return
            for n in range(3):
                self.changed = self.change(os.path.join(self.mnt, "guest00"), "changed, %d" % n)
                self.settle()
                self.record(kind, tool, "1% of one new", *once())

    def candidates(self, image):
        """What a pass has to read, by inode, and what it links to what."""
        with self.mounted(image):
            classes = collections.defaultdict(list)
            self.names = self.files = 0
            for d, dirs, names in os.walk(self.mnt):
                self.names += len(names)
                for n in names:
                    st = os.lstat(os.path.join(d, n))
                    self.files += (st.st_mode & 0o170000) == 0o100000
                    if (st.st_mode & 0o170000) == 0o100000 and st.st_size > 0 and st.st_nlink == 1:
                        key = (st.st_size, st.st_mtime_ns, st.st_mode, st.st_uid, st.st_gid)
                        classes[key].append((st.st_ino, os.path.relpath(os.path.join(d, n), self.mnt)))
            shared = [sorted(c) for c in classes.values() if len(c) > 1]
            reads = sorted(f for c in shared for f in c)
            links = []
            for c in shared:
                first = {}
                for _, name in c:
                    base = name.split("/", 1)[1]
                    if base in first:
                        links.append(name + "\t" + first[base])
                    first.setdefault(base, name)
            return [name for _, name in reads], links

    def floor(self, what, threads, names):
        with tempfile.TemporaryFile("w+") as f:
            f.write("".join(n + "\n" for n in names if "\n" not in n))
            f.seek(0)
            os.makedirs(self.mnt + "/.floor", exist_ok=True)
            return float(subprocess.check_output([self.o.floor, what, str(threads)], stdin=f, cwd=self.mnt))

    def floors(self, kind, image):
        """The best thread count for each is found once; then it is timed like all others."""
        reads, links = self.candidates(image)
        best = {}
        for what, counts, names in (("read", THREADS_READ, reads), ("link", THREADS_LINK, links)):
            times = {}
            for t in counts:
                with self.fresh(image, what == "link"):
                    times[t] = self.floor(what, t, names)
            best[what] = min(times, key=times.get)
            print("  %-5s floor %s: %s" % (kind, what, ", ".join("%d threads %.2f s" % p for p in times.items())), flush=True)
        def again():
            with self.fresh(image, False):
                self.record(kind, "read floor", "cold", self.floor("read", best["read"], reads))
            with self.fresh(image, True):
                self.record(kind, "link floor", "warm", self.floor("link", best["link"], links))
        return again

    # Results

    def judge(self, kind):
        m = lambda tool, phase: self.median(kind, tool, phase)
        read, link = m("read floor", "cold"), m("link floor", "warm")
        cold, warm, second = m("hashify", "first cold"), m("hashify", "first warm"), m("hashify", "second")
        bound = max(read + 0.5 * link, link)
        new = m("hashify", "1% of one new")
        memory = lambda phase: max(r["memory"] for r in self.rows
                                   if r["fs"] == kind and r["tool"] == "hashify" and r["phase"].startswith(phase))
        fastest = lambda phase: min(m(t, phase) for t in self.peers)
        yield "first pass cold / larger of (read + link/2, link)", cold / bound, "<=", 1.25
        for t in self.peers:
            yield "%s cold / hashify cold" % t, m(t, "first cold") / cold, ">=", 2.5
        yield "fastest peer warm / hashify warm", fastest("first warm") / warm, ">=", 1.6
        yield "second pass, µs a name", second / self.names * 1e6, "<=", 0.6
        yield "fastest peer's second pass / hashify's", fastest("second") / second, ">=", 6
        yield "1% of one new, over a second pass: each / first pass' file", (new - second) / self.changed / (warm / self.files), "<=", 6
        yield "peak memory, bytes a file", memory("first") / self.files, "<=", 100
        yield "second pass' peak memory, bytes a file", memory("second") / self.files, "<=", 100

    def table(self, kind):
        print("\n%s: %d guests from %s, %d names, %d of them files; medians" % (
            kind, self.o.guests, self.origin, self.names, self.files))
        phases = ["cold", "warm", "first cold", "first warm", "second", "1% of one new"]
        tools = ["read floor", "link floor", "hashify", *self.peers]
        print("%-12s" % "" + "".join("%15s" % p for p in phases))
        for t in tools:
            cells = [m if (m := self.median(kind, t, p)) is not None else "" for p in phases]
            print("%-12s" % t + "".join("%15s" % (c if c == "" else "%.3f s" % c) for c in cells))
        return all([self.holds(*asked) for asked in self.judge(kind)])

    def holds(self, what, value, relation, wanted):
        good = value <= wanted if relation == "<=" else value >= wanted
        print("  %-4s %-58s %8.2f  (%s %s)" % ("ok" if good else "MISS", what, value, relation, wanted))
        return good

    def scaling(self, kind, image):
        for cpus in range(1, (os.cpu_count() or 1) + 1):
            with self.fresh(image, True):
                seconds, cpu, memory = self.timed("taskset", "-c", "0-%d" % (cpus - 1), self.o.hashify,
                                                  "--no-default-excludes", "-q", self.mnt)
                self.record(kind, "hashify", "%d CPUs warm" % cpus, seconds, cpu, memory)

    def main(self):
        self.peers = [t for t in PEERS if t in self.o.peers.split(",") and shutil.which(PEERS[t][0])]
        good = True
        for kind in self.o.fs.split(","):
            image = self.make_image(kind)
            floors = self.floors(kind, image)
            for _ in range(self.o.rounds):
                floors()
                for warm in (False, True):
                    for tool in ["hashify", *self.peers]:
                        self.passes(kind, image, tool, warm)
            if self.o.scaling:
                self.scaling(kind, image)
            good = self.table(kind) and good
            os.unlink(image)
        if self.o.csv:
            figures.write_csv(self.o.csv, self.rows)
        return 0 if good else 1

    def many_files(self):
        """Peak memory for so many small files, each twice."""
        count = self.o.many
        image = os.path.join(self.top, "many")
        with open(image, "wb") as f:
            f.truncate((count * 8192 >> 20 << 20) + (2 << 30))
        run("mkfs.ext4", *self.options("ext4", count + count // 100 + 10000), image)
        with self.mounted(image):
            for n in range(count):
                i, guest = divmod(n, 2)
                d = "%s/g%d/%03d/%03d" % (self.mnt, guest, i // 1000 % 1000, i // 1000000)
                if i % 1000 == 0:
                    os.makedirs(d, exist_ok=True)
                path = "%s/file%07d" % (d, i)
                with open(path, "wb") as f:
                    f.write(b"%d" % i * (1 + i % 7))
                os.utime(path, (i % 1000, i % 1000))
            seconds, cpu, first = self.hashify()
            print("%d small files: %.1f s, %.1f s CPU, peak %.1f MiB, %.1f bytes a file" % (
                count, seconds, cpu, first / 2**20, first / count))
            seconds, cpu, second = self.hashify()
            print("  second pass: %.2f s, %.2f µs a name, peak %.1f MiB" % (seconds, seconds / count * 1e6, second / 2**20))
        return 0 if all([self.holds(what + ", bytes a file beyond %d MiB" % (OWN >> 20), (memory - OWN) / count, "<=", 100)
                         for what, memory in (("first pass", first), ("second pass", second))]) else 1


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--hashify", required=True)
    p.add_argument("--floor", required=True)
    p.add_argument("--guests", type=int, default=10)
    p.add_argument("--files", type=int, default=25000, help="of one guest, where it is made of this machine's /usr")
    p.add_argument("--guest", help="a root tree to make the guests of")
    p.add_argument("--fs", default="ext4,xfs")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--peers", default=",".join(PEERS))
    p.add_argument("--csv")
    p.add_argument("--dir", default="/var/tmp", help="where the images go: twice the guests' size")
    p.add_argument("--scaling", action="store_true", help="with one CPU, two, and so on")
    p.add_argument("--many", type=int, help="instead: memory for so many small files")
    p.add_argument("--quick", action="store_true", help="two small guests, one round, ext4: does it still run?")
    o = p.parse_args()
    if o.quick:
        o.guests, o.files, o.fs, o.rounds = 2, 3000, "ext4", 1
    return o


if __name__ == "__main__":
    bench = Bench(options())
    sys.exit(bench.many_files() if bench.o.many else bench.main())
