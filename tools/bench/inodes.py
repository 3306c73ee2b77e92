"""How much memory does the daemon take for each inode that the kernel has cached of it, how many descriptors, and does it give them
back? Half of the inodes are links, half private files."""
import argparse
import os
import subprocess
import sys
import time

from place import Place, run

NAMES = 50_000  # of an object: ext4 allows 65,000
PER_DIRECTORY = 10_000


class Bench(Place):
    def __init__(self, o):
        super().__init__("hashfs-bench.", o.dir)
        self.o = o
        self.guest = self.disk + "/pool/a"

    def fill(self):
        half = self.o.inodes // 2
        self.new_image((4 << 30) + self.o.inodes * 400, "mkfs.ext4", "-q", "-F", "-N", str(half + 100_000))
        run("mount", "-o", "loop", self.image, self.disk)
        objects = -(-half // NAMES)
        for g in "ab":
            os.makedirs("%s/pool/%s/seed" % (self.disk, g))
            for i in range(objects):
                with open("%s/pool/%s/seed/%d" % (self.disk, g, i), "w") as f:
                    f.write("object %d\n" % i)
                os.utime(f.name, (1, 1))
        run(self.o.build + "/hashify/hashify", "-q", self.disk + "/pool")
        for i in range(half):
            if i % PER_DIRECTORY == 0:
                os.mkdir("%s/links%d" % (self.guest, i))
                os.mkdir("%s/private%d" % (self.guest, i))
                links = os.open("%s/links%d" % (self.guest, i), os.O_RDONLY)
                private = os.open("%s/private%d" % (self.guest, i), os.O_RDONLY)
            os.link("%s/seed/%d" % (self.guest, i // NAMES), "library-%d.so" % i, dst_dir_fd=links)
            os.mknod("file-%d.txt" % i, dir_fd=private)
            if i % PER_DIRECTORY == PER_DIRECTORY - 1 or i == half - 1:
                os.close(links)
                os.close(private)

    def look(self, what, seconds=None):
        with open("/proc/%d/status" % self.pid) as f:
            rss = next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS:"))
        fds = len(os.listdir("/proc/%d/fd" % self.pid))
        print("%-28s %8.1f MiB = %6.1f bytes an inode, %d descriptors%s" % (
            what, rss / (1 << 20), (rss - self.empty) / self.o.inodes, fds,
            ", %.1f s = %.2f µs an inode" % (seconds, seconds * 1e6 / self.o.inodes) if seconds else ""), flush=True)
        return rss

    def main(self):
        self.fill()
        daemon = subprocess.Popen([self.o.build + "/fs/hashfs", "-f", self.guest, self.mnt])
        while not os.path.exists(self.mnt + "/seed"):
            time.sleep(0.05)
        self.pid, self.empty = daemon.pid, 0
        self.empty = self.look("mounted")
        for what in ("walked, first", "walked again"):
            seconds = float(subprocess.check_output([self.o.build + "/calls", "walk", self.mnt]))
            cached = self.look(what, seconds)
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("2")
        time.sleep(5)
        left = self.look("after the kernel forgot all")
        run("umount", self.mnt)
        daemon.wait()
        per_inode = (cached - self.empty) / self.o.inodes
        if per_inode > 250:
            print("  MISS: more than 250 bytes an inode")
        if left - self.empty > 0.1 * (cached - self.empty):
            print("  MISS: the memory is not given back")
        return 0 if per_inode <= 250 and left - self.empty <= 0.1 * (cached - self.empty) else 1


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--build", required=True)
    p.add_argument("--inodes", type=int, default=10_000_000)
    p.add_argument("--dir", default="/var/tmp", help="where the image goes")
    return p.parse_args()


if __name__ == "__main__":
    sys.exit(Bench(options()).main())
