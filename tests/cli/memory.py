"""No leak, no bad access, no fd left open: valgrind watches every command, or the sanitizers of their own build do."""
import os
import subprocess
import sys

import cases
import tree
from cases import case, expect
from cli import HASHIFY, new_pool

TOP = sys.argv[1]
VALGRIND = ["valgrind", "--quiet", "--leak-check=full", "--show-leak-kinds=all", "--errors-for-leak-kinds=all",
            "--track-fds=yes", "--error-exitcode=99"]
PRELOAD = os.environ.get("OPENAT2")


def clean(*args, status=0):
    env = dict(os.environ, LD_PRELOAD=PRELOAD) if PRELOAD else None
    watched = [*VALGRIND, HASHIFY] if PRELOAD else [HASHIFY]
    r = subprocess.run([*watched, *args], capture_output=True, text=True, errors="replace", env=env)
    expect(r.returncode == status, "status", r.returncode, "of", *args, r.stderr)
    leaked = [p for p in r.stderr.split("Open file descriptor")[1:] if "<inherited from parent>" not in p]
    expect(not leaked, "left open:", *leaked)


@case("nothing is found")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(40):
            pool.put_all("d%d/f%d" % (i % 3, i), tree.noise(i, i * 5000), xattrs={"user.a": b"%d" % i})
        pool.put("a/own", b"own")
        os.symlink("x", pool.at("a/link"))
        clean("--dry-run", "-v", pool.path)
        clean(pool.path)
        clean("--json", pool.path)
        clean("stat", pool.path)
        with open(pool.at("a/own"), "r+b"):
            pool.put("b/own", b"own")
            clean("-v", pool.path)
        clean(pool.at("a"), status=2)
        clean(TOP + "/none", status=2)
        clean("--help")


sys.exit(cases.run(None))
