"""How much memory do many guests take that run the same programs: as plain copies, over overlayfs, and on hashfs with a mount for
each or one for all? File-backed resident memory of all their processes (Pss, which divides a page among those who map it) and the
page cache, beside the same of one guest."""
import argparse
import contextlib
import os
import subprocess
import sys
import time

from place import Place, run

PROGRAMS = [
    ["/bin/bash", "-c", "read x"],
    ["/usr/bin/perl", "-MPOSIX", "-MSocket", "-MIO::Handle", "-e", "$| = 1; <STDIN>"],
    ["/usr/bin/python3", "-c", "import json, asyncio, http.client, decimal, sys; sys.stdin.read()"],
    ["/bin/cat"],
]
MIB = 1 << 20


def meminfo(key):
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(key + ":"))


def pss_of_files(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) * 1024 for line in f if line.startswith(("Pss_File:", "Pss_Shmem:")))


class Bench(Place):
    def __init__(self, o):
        self.names = ["guest%02d" % n for n in range(o.guests)]
        super().__init__("hashfs-bench.", o.dir)
        self.o = o
        self.pool = self.disk + "/pool"
        self.good = True

    def clean_up(self):
        for n in self.names:
            subprocess.run(["umount", "-q", self.mnt + "/" + n], stderr=subprocess.DEVNULL, check=False)
        super().clean_up()

    def fill(self):
        size = int(subprocess.check_output(["du", "-sx", "-B1", self.o.guest]).split()[0])
        self.new_image(int(size * self.o.guests * 1.2) + (4 << 30), "mkfs." + self.o.fs, "-q",
                        *(["-F", "-i", "8192"] if self.o.fs == "ext4" else ["-f"]))
        # Or the image's pages, in the host's cache, would be counted as well.
        loop = subprocess.check_output(["losetup", "--find", "--show", "--direct-io=on", self.image], text=True).strip()
        run("mount", loop, self.disk)
        run("losetup", "-d", loop)  # when it is unmounted
        os.mkdir(self.pool)
        for n in self.names:
            run("cp", "-ax", self.o.guest, self.pool + "/" + n)

    @contextlib.contextmanager
    def mounts(self, start):
        """@start mounts a guest at a path."""
        done = []
        try:
            for n in self.names:
                where = self.mnt + "/" + n
                os.mkdir(where)
                start(n, where)
                done.append(where)
            yield [self.mnt + "/" + n for n in self.names]
        finally:
            for where in done:
                run("umount", where)
            for n in self.names:
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(self.mnt + "/" + n)

    def overlay(self, name, where):
        upper = [self.disk + "/layers/%s/%s" % (name, d) for d in ("upper", "work")]
        for d in upper:
            os.makedirs(d)
        run("mount", "-t", "overlay", "-o", "lowerdir=%s,upperdir=%s,workdir=%s" % (self.pool + "/" + self.names[0], *upper),
            "overlay", where)

    def hashfs(self, name, where):
        run(self.o.build + "/fs/hashfs", "-o", "passthrough=yes", self.pool + "/" + name, where)

    @contextlib.contextmanager
    def whole_pool(self):
        run(self.o.build + "/fs/hashfs", "-o", "passthrough=yes", self.pool, self.mnt)
        try:
            yield [self.mnt + "/" + n for n in self.names]
        finally:
            run("umount", self.mnt)

    def start(self, root):
        started = []
        for command in PROGRAMS:
            if os.path.exists(root + command[0]) and os.path.basename(command[0]) in self.o.programs:
                started.append(subprocess.Popen(["chroot", root, *command], stdin=subprocess.PIPE))
        return started

    @contextlib.contextmanager
    def running(self, roots):
        processes = [p for root in roots for p in self.start(root)]
        time.sleep(3 + 0.1 * len(roots))
        try:
            if any(p.poll() is not None for p in processes):
                raise SystemExit("bench: a program has ended: is %s a root tree?" % self.o.guest)
            yield processes
        finally:
            for p in processes:
                p.stdin.close()
            for p in processes:
                p.wait()

    def figures(self, roots):
        """Pss of files of all processes, and what the page cache has grown by. They are started twice: a fault maps what is cached
        around its page, which for the first of them is next to nothing."""
        run("sync")
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3")
        time.sleep(1)
        before = meminfo("Cached")
        with self.running(roots):
            pass
        with self.running(roots) as processes:
            return sum(pss_of_files(p.pid) for p in processes), meminfo("Cached") - before, len(processes)

    def measure(self, what, roots, limit=None):
        one, many = self.figures(roots[:1]), self.figures(roots)
        ratios = [b / a for a, b in zip(one[:2], many[:2])]
        print("%-26s %4d processes   Pss of files %7.1f -> %7.1f MiB (× %5.2f)   page cache %7.1f -> %7.1f MiB (× %5.2f)" % (
            what, many[2], one[0] / MIB, many[0] / MIB, ratios[0], one[1] / MIB, many[1] / MIB, ratios[1]), flush=True)
        if limit and max(ratios) > limit:
            print("  MISS: more than %.2f × one guest" % limit)
            self.good = False

    def main(self):
        self.fill()
        print("%d guests of %s on %s; of one -> of all" % (self.o.guests, self.o.guest, self.o.fs))
        self.measure("plain copies", [self.pool + "/" + n for n in self.names])
        with self.mounts(self.overlay) as roots:
            self.measure("overlayfs, one image", roots)
        run(self.o.build + "/hashify/hashify", "-q", self.pool)
        with self.mounts(self.hashfs) as roots:
            self.measure("hashfs, a mount for each", roots, 1.05)
        with self.whole_pool() as roots:
            self.measure("hashfs, one for the pool", roots, 1.05)
        return 0 if self.good else 1


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--guest", required=True, help="the root tree to use")
    p.add_argument("--guests", type=int, default=50)
    p.add_argument("--programs", type=lambda s: s.split(","), default=[os.path.basename(c[0]) for c in PROGRAMS],
                   help="some of bash,perl,python3,cat")
    p.add_argument("--fs", default="ext4")
    p.add_argument("--dir", default="/var/tmp", help="where the image goes")
    return p.parse_args()


if __name__ == "__main__":
    sys.exit(Bench(options()).main())
