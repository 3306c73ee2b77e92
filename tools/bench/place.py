"""Where a bench works: a directory of its own with an image, .disk to mount it at, and a mountpoint .mnt; gone at the end."""
import atexit
import os
import shutil
import subprocess
import tempfile


def run(*args, **kw):
    return subprocess.run(args, check=True, **kw)


class Place:
    def __init__(self, prefix, parent):
        self.top = tempfile.mkdtemp(prefix=prefix, dir=parent)
        self.disk, self.mnt, self.image = self.top + "/disk", self.top + "/mnt", self.top + "/image"
        os.mkdir(self.disk)
        os.mkdir(self.mnt)
        atexit.register(self.clean_up)

    def new_image(self, size, *mkfs):
        with open(self.image, "wb") as f:
            f.truncate(size)
        run(*mkfs, self.image)

    def clean_up(self):
        for path in (self.mnt, self.disk):
            subprocess.run(["umount", "-q", "-R", "-d", path], check=False)
        shutil.rmtree(self.top, ignore_errors=True)
