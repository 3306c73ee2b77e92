"""No leak, no bad access, no fd left open: valgrind watches every command, or the sanitizers of their own build do. And no
command takes more memory than so much for each file."""
import os
import subprocess
import sys

import cases
import tree
from cases import NotHere, case, expect
from cli import HASHIFY, new_pool

TOP = sys.argv[1]
VALGRIND = ["valgrind", "--quiet", "--leak-check=full", "--show-leak-kinds=all", "--errors-for-leak-kinds=all",
            "--track-fds=yes", "--error-exitcode=99"]
FEW, MANY = 1000, 21_000
# Bytes a file; a pass has room for what is in its queues besides, which counts less in a larger pool (tools/bench).
MOST = {"-q": 200, "-q --dry-run": 200, "index --rebuild": 200, "gc": 20, "gc --json": 20}
PEAK = os.environ.get("PEAK")
PRELOAD = os.environ.get("VALGRIND_PRELOAD")


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
        clean("index", pool.path)
        clean("index", "--rebuild", pool.path)
        for path in ("a/d1/f1", "a/own", "a/link", "a"):
            clean("why", pool.at(path))
        with open(pool.at("a/own"), "r+b"):
            pool.put("b/own", b"own")
            clean("-v", pool.path)
        with open(pool.objects()[0], "r+b") as f:
            f.write(b"damaged")
        clean("verify", "-n", pool.path, status=1)
        clean("verify", pool.path, status=1)
        clean("unshare", "-n", pool.at("a"))
        clean("unshare", pool.path)
        clean("gc", "-n", pool.path)
        clean("gc", pool.path)
        clean(pool.at("a"), status=2)
        clean(TOP + "/none", status=2)
        clean("--help")


def peak(*args):
    """Bytes that a command takes at most."""
    figure = os.environ["W"] + "/figure"
    r = subprocess.run([PEAK, figure, HASHIFY, *args], capture_output=True)
    expect(r.returncode == 0, "status", r.returncode, "of", *args, r.stderr)
    with open(figure) as f:
        return int(f.read())


def peaks(count):
    """Of each command, in a pool of so many files, most of them shared."""
    with new_pool(TOP) as pool:
        for i in range(count // 2):
            d = "a/d%d" % (i // 500)
            if i % 500 == 0:
                for g in "ab":
                    os.makedirs(pool.at(g + d[1:]))
            for g in "a" if i % 4 == 3 else "ab":
                with open(pool.at(g + d[1:], "f%d" % i), "w") as f:
                    f.write("content %d" % i)
                os.utime(f.name, (1, 1))
        return {" ".join(args): peak(*args, pool.at(at)) for *args, at in (
            ("-q", ""), ("-q", "--dry-run", ""), ("stat", ""), ("index", ""), ("verify", ""), ("why", "a/d0/f1"),
            ("why", "--json", "a"), ("index", "--rebuild", ""), ("gc", ""), ("unshare", ""), ("gc", "--json", ""))}


@case("no command takes more than so many bytes for each file")
def _(_):
    if not PEAK:
        raise NotHere("the sanitizers take more than hashify does")
    few, many = peaks(FEW), peaks(MANY)
    taken = {what: (many[what] - few[what]) / (MANY - FEW) for what in many}
    print("      " + ", ".join("%s %.0f" % t for t in taken.items()))
    for what, bytes_each in taken.items():
        expect(bytes_each <= MOST.get(what, 100), what, "takes", bytes_each, "bytes a file")


sys.exit(cases.run(None))
