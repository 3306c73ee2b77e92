"""Patterns of the host, of the guest, and by default; guests and sizes."""
import os
import subprocess
import sys

import cases
import tree
from cases import case, expect, expect_equal
from cli import HASHIFY, command, new_pool, summary

TOP = sys.argv[1]
BY_DEFAULT = ["etc/app.conf", "etc/ssh/ssh_host_ed25519_key", "etc/shadow", "var/log/syslog", "run/lock", "tmp/x",
              "var/lib/app/app.db", "srv/data.sqlite3", "var/lib/mysql/ibdata1", "root/.ssh/id_ed25519", "srv/tls/a.key",
              "var/lib/dbus/machine-id", "var/lib/dpkg/status", "var/lib/dpkg/lock-frontend", "srv/app.log", "vm/disk.qcow2"]
SHARED = ["usr/bin/ls", "usr/lib/libc.so.6", "usr/etc/x", "srv/log", "var/lib/dpkg/info/a.list", "home/u/etc/conf", "opt/key"]


def fill(pool, *names, guests="ab"):
    for name in names:
        pool.put_all(name, b"content of " + name.encode(), guests=guests)


def shared(pool, *args):
    """What is shared after a pass with these options, as a dry run foretells."""
    foretold = summary("--dry-run", *args, pool.path, defaults=True)
    s = summary(*args, pool.path, defaults=True)
    expect_equal(foretold["skipped"], s["skipped"], "a dry run foretold otherwise")
    a = pool.at("a")
    return sorted(os.path.relpath(os.path.join(d, n), a) for d, _, names in os.walk(a) for n in names
                  if os.lstat(os.path.join(d, n)).st_nlink > 1)


@case("by default what is written to, tells machines apart or is secret is left alone")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, *BY_DEFAULT, *SHARED)
        expect_equal(shared(pool), sorted(SHARED))
        s = summary(pool.path, defaults=True)
        expect(s["skipped"]["excluded"] > 0, s)
        expect_equal(shared(pool, "--no-default-excludes"), sorted(SHARED + BY_DEFAULT))


@case("the defaults are printed, each group with its reason, and can be given back")
def _(_):
    r = command("--print-default-excludes")
    expect(r.returncode == 0 and b"\n# " in r.stdout and b"/etc/" in r.stdout, r)
    with new_pool(TOP) as pool:
        fill(pool, *BY_DEFAULT, *SHARED)
        with open(TOP + "/patterns", "wb") as f:
            f.write(r.stdout)
        expect_equal(shared(pool, "--no-default-excludes", "--exclude-from=" + TOP + "/patterns"), sorted(SHARED))
        os.unlink(TOP + "/patterns")


@case("the man page shows the defaults as they are printed")
def _(_):
    page = os.path.join(os.path.dirname(__file__), "../../docs/hashify.8.scd")
    section = tree.slurp(page).split(b"\n# EXCLUDED FILES\n")[1].split(b"\n# REASONS\n")[0]
    expect_equal(section.split(b"```\n")[1], command("--print-default-excludes").stdout)


@case("the command line excludes, and has the last word")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, "usr/a", "usr/b", "srv/a", "etc/a")
        expect_equal(shared(pool, "--exclude=a", "--exclude", "!/etc/", "--exclude=!/etc/a"), ["etc/a", "usr/b"])
        r = subprocess.run([HASHIFY, "--exclude-from=-", pool.path], input=b"# none\n\n/srv/\n", capture_output=True)
        expect_equal(r.returncode, 0, r.stderr)
        expect_equal(shared(pool, "--exclude=/srv/"), ["etc/a", "usr/a", "usr/b"])


@case("where the root is in rootfs, as in LXC's layout and in OCI bundles, patterns begin there; what is beside it is the host's")
def _(_):
    beside = ["config", "fstab", "snaps/snap0/rootfs/usr/x", "rootfs.hold", "rootfs2/usr/x"]
    below = lambda names: sorted("rootfs/" + n for n in names)
    with new_pool(TOP) as pool:
        fill(pool, *below(BY_DEFAULT + SHARED), *beside)
        expect_equal(shared(pool), below(SHARED))
        expect_equal(shared(pool, "--exclude=!rootfs2/", "--exclude=!fstab"), below(SHARED))
        expect_equal(shared(pool, "--no-default-excludes"), below(SHARED + BY_DEFAULT))
        for path, reason in (("a/fstab", "excluded"), ("a/rootfs/etc/own", "excluded"), ("a/rootfs/usr/own", "alone")):
            pool.put(path, b"own") if path.endswith("own") else None
            s = summary("why", pool.at(path), defaults=True)
            expect_equal(s.get("reason", s["state"]), reason, path)
    with new_pool(TOP) as pool:
        fill(pool, "rootfs/usr/bin/x", "rootfs/usr/bin/y", "rootfs/srv/z")
        pool.put("a/rootfs/etc/hashify.exclude", b"/usr/bin/y\n")
        expect_equal(shared(pool), ["rootfs/srv/z", "rootfs/usr/bin/x"])
        pool.put("b/rootfs/etc/hashify.exclude", b"//\n")
        r = command(pool.path)
        expect(r.returncode == 1 and b"b/rootfs/etc/hashify.exclude:1: is no pattern" in r.stderr, r)


@case("a guest that has a directory rootfs besides its own system is none of those")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, "usr/bin/x", "rootfs/usr/bin/x", "rootfs/etc/x")
        expect_equal(shared(pool), ["rootfs/etc/x", "rootfs/usr/bin/x", "usr/bin/x"])
    with new_pool(TOP) as pool:  # nor is one with a symbolic link of that name, wherever it leads
        fill(pool, "srv/etc/x", "srv/usr/x")
        for g in "ab":
            os.symlink("srv", pool.at(g, "rootfs"))
        expect_equal(shared(pool), ["srv/etc/x", "srv/usr/x"])


@case("links beneath what is excluded later stay links")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, "usr/a", "srv/a")
        expect_equal(shared(pool), ["srv/a", "usr/a"])
        expect_equal(shared(pool, "--exclude=/srv/", "--exclude=/usr/a"), ["srv/a", "usr/a"])


@case("a guest says what of it is left alone")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, "usr/a", "usr/b", "srv/a")
        pool.put("a/etc/hashify.exclude", b"# mine\n/usr/a\nsrv/\n")
        expect_equal(shared(pool), ["usr/b"])
        pool.put("b/etc/hashify.exclude", b"*\n")
        fill(pool, "usr/c")
        expect_equal(shared(pool), ["usr/b"])
        expect_equal(shared(pool, "--exclude=!*"), ["srv/a", "usr/a", "usr/b", "usr/c"])


@case("a guest's file is read without moving its atime")
def _(_):
    with new_pool(TOP) as pool:
        path = pool.put("a/etc/hashify.exclude", b"/srv/\n")
        summary(pool.path, defaults=True)
        expect_equal(os.lstat(path).st_atime_ns, tree.OLD)


@case("a guest's file that cannot be used keeps all of the guest private, with an error")
def _(_):
    def symlink(path):
        os.symlink("/etc/passwd", path)

    def large(path):
        tree.put(path, b"#" * 20000)

    for make in (symlink, os.mkfifo, os.mkdir, large, lambda p: tree.put(p, b"a//b\n")):
        with new_pool(TOP) as pool:
            fill(pool, "usr/a", guests="abc")
            os.mkdir(pool.at("c/etc"))
            make(pool.at("c/etc/hashify.exclude"))
            s = summary(pool.path, status=1, defaults=True)
            expect_equal((s["linked"], s["objects_created"], s["skipped"]["policy"]), (1, 1, 1))
            expect_equal(os.lstat(pool.at("c/usr/a")).st_nlink, 1)


@case("the line that is no pattern is named, of each guest")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, "usr/a", guests="abc")
        pool.put("b/etc/hashify.exclude", b"# mine\n/srv/\na//b\n")
        pool.put("c/etc/hashify.exclude", b"//\n")
        said = command(pool.path).stderr.decode()
        expect("b/etc/hashify.exclude:3: is no pattern" in said and "c/etc/hashify.exclude:1: is no pattern" in said, said)


@case("a guest whose etc is a link has no list")
def _(_):
    for to in ("usr/etc", "/etc", "none", "usr/a"):
        with new_pool(TOP) as pool:
            fill(pool, "usr/a", "usr/etc/conf", guests="abc")
            pool.put("c/usr/etc/hashify.exclude", b"/usr/a\n")
            os.symlink(to, pool.at("c/etc"))
            s = summary(pool.path, defaults=True)
            expect_equal((s["linked"], s["skipped"]["policy"], s["errors"]), (4, 0, 0), to)
            pool.expect_linked("a/usr/a", "c/usr/a")


@case("only the guests that are named")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool, "f", guests="abcd")
        s = summary("--guest=b", "--guest", "c", pool.path, defaults=True)
        expect_equal((s["guests"], s["linked"]), (2, 1))
        pool.expect_linked("b/f", "c/f")
        expect_equal(os.lstat(pool.at("a/f")).st_nlink, 1)
        expect_equal(summary("--guest=d", pool.path, defaults=True)["linked"], 1)
        for wrong in ("x", ".hash", "../x", ".", "..", ""):
            r = command("--guest=" + wrong, pool.path)
            expect(r.returncode == 2 and b"no guest" in r.stderr, wrong, r)


@case("only files of some size")
def _(_):
    with new_pool(TOP) as pool:
        for size in (1, 4095, 4096, 5000):
            pool.put_all("f%d" % size, tree.noise(size, size), guests="ab")
        expect_equal(shared(pool, "--min-size=4K"), ["f4096", "f5000"])
        for wrong in ("", "x", "-1", "1X", "0"):
            expect_equal(command("--min-size=" + wrong, pool.path).returncode, 2, wrong)


@case("patterns that are none are refused, naming the line")
def _(_):
    with new_pool(TOP) as pool:
        for wrong in ("", "/", "!", "a//b", "#x", "a\nb", "./usr", "/..", " a"):
            r = command("--exclude=" + wrong, pool.path)
            expect(r.returncode == 2 and b"takes a pattern, like" in r.stderr, wrong, r)
        tree.put(TOP + "/wrong", b"a\n/\n")
        r = command("--exclude-from=" + TOP + "/wrong", pool.path)
        expect(r.returncode == 2 and b"wrong:2" in r.stderr, r)
        os.unlink(TOP + "/wrong")
        r = command("--exclude-from=" + TOP + "/wrong", pool.path)
        expect(r.returncode == 2 and b"No such file" in r.stderr, r)


sys.exit(cases.run(None))
